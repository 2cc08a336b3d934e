import { useSyncExternalStore } from "react";

/** The page is in the fragment, so that any server that serves the files serves every page. */
export type Route =
  | { page: "fleet" }
  | { page: "host"; id: string }
  | { page: "incidents" }
  | { page: "incident"; id: string }
  | { page: "events"; host: string }
  | { page: "account" };

export function parseRoute(fragment: string): Route {
  const [path = "", query = ""] = fragment.replace(/^#?\/?/, "").split("?", 2);
  const [first, second] = path.split("/").map(decode);
  if (first === "hosts" && second) return { page: "host", id: second };
  if (first === "incidents") return second ? { page: "incident", id: second } : { page: "incidents" };
  if (first === "events") return { page: "events", host: new URLSearchParams(query).get("host") ?? "" };
  if (first === "account") return { page: "account" };
  return { page: "fleet" };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const link = {
  fleet: "#/hosts",
  host: (id: string) => `#/hosts/${encodeURIComponent(id)}`,
  incidents: "#/incidents",
  incident: (id: string) => `#/incidents/${encodeURIComponent(id)}`,
  account: "#/account",
  events: (host = "") => (host ? `#/events?${new URLSearchParams({ host })}` : "#/events"),
};

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

export function useRoute(): Route {
  return parseRoute(useSyncExternalStore(subscribe, () => window.location.hash));
}
