import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { Api, ApiError } from "./api/client";
import type { Me, Role } from "./api/types";

/** Who is signed in: not known yet, nobody, or somebody. */
export type Who = { state: "asking" } | { state: "nobody"; ended: boolean } | { state: "unreachable" } | { state: "known"; me: Me };

export interface Session {
  api: Api;
  who: Who;
  signIn: (username: string, password: string) => Promise<void>;
  signOut: () => Promise<void>;
  askAgain: () => void;
}

export const SessionContext = createContext<Session | undefined>(undefined);

const NOBODY: Who = { state: "nobody", ended: false };

/** Who is signed in once the controller says that nobody is. */
function afterwards(was: Who): Who {
  return was.state === "nobody" ? was : { state: "nobody", ended: was.state === "known" };
}

function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && error.status === 401;
}

/** There, 401 means that the password is wrong. */
const ASKS_FOR_PASSWORD = ["/login", "/me/password"];

/** Watches every answer for 401, so that an ended session shows the sign-in page wherever it ends. */
function watched(onEnded: () => void): Api {
  return new Api(async (input, init) => {
    const response = await fetch(input, init);
    if (response.status === 401 && !ASKS_FOR_PASSWORD.some((path) => input.endsWith(path))) onEnded();
    return response;
  });
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const [who, setWho] = useState<Who>({ state: "asking" });
  const api = useMemo(() => watched(() => setWho(afterwards)), []);
  const askAgain = useCallback(() => {
    api.me().then(
      (me) => setWho({ state: "known", me }),
      (error: unknown) => setWho((was) => (isRefusal(error) ? afterwards(was) : { state: "unreachable" })),
    );
  }, [api]);
  useEffect(askAgain, [askAgain]);
  const session = useMemo<Session>(
    () => ({
      api,
      who,
      askAgain,
      signIn: async (username, password) => {
        await api.login(username, password);
        setWho({ state: "known", me: await api.me() });
      },
      // When the controller does not answer, the session may live on there: the page must not pretend otherwise.
      signOut: async () => {
        try {
          await api.logout();
          setWho(NOBODY);
        } catch (error) {
          setWho(isRefusal(error) ? NOBODY : { state: "unreachable" });
        }
      },
    }),
    [api, who, askAgain],
  );
  return <SessionContext value={session}>{children}</SessionContext>;
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("useSession outside SessionProvider");
  return session;
}

const MAY_ACT: readonly Role[] = ["responder", "engineer", "admin"];

/** Whether this account may give orders. The controller decides; this only hides what it would refuse. */
export function mayAct(who: Who): boolean {
  return who.state === "known" && MAY_ACT.includes(who.me.role);
}
