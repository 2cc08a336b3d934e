import { useEffect, useId, useState, type FormEvent } from "react";
import { ApiError } from "../api/client";
import { useLanguage } from "../i18n";
import { LanguageSwitch } from "../parts/language-switch";
import { useWhy } from "../parts/live";
import { Mark } from "../parts/mark";
import { useSession } from "../session";

export function SignIn() {
  const { signIn, who } = useSession();
  const { t } = useLanguage();
  const why = useWhy();
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [working, setWorking] = useState(false);
  const [failure, setFailure] = useState<ApiError | undefined>();
  const ids = { username: useId(), password: useId() };
  useEffect(() => {
    document.title = `${t("signIn.title")} · Cordon`;
  }, [t]);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setWorking(true);
    setFailure(undefined);
    try {
      await signIn(username, password);
    } catch (error) {
      setFailure(error instanceof ApiError ? error : new ApiError(0, "", ""));
      setWorking(false);
    }
  }

  function words(error: ApiError): string {
    if (error.status === 401) return t("signIn.wrong");
    if (error.status === 429) return t("signIn.slow", { count: error.wait ?? 60 });
    return why(error);
  }

  return (
    <main className="sign-in">
      <form className="card form" onSubmit={(event) => void submit(event)}>
        <div className="sign-in-head">
          <Mark />
          <div>
            <h1>{t("app.name")}</h1>
            <p className="quiet">{t("app.tagline")}</p>
          </div>
        </div>
        {who.state === "nobody" && who.ended && (
          <p className="banner warn" role="status">
            {t("signIn.ended")}
          </p>
        )}
        <label htmlFor={ids.username}>{t("signIn.username")}</label>
        <input
          id={ids.username}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          required
          autoFocus
          value={username}
          onChange={(event) => setUsername(event.target.value)}
        />
        <label htmlFor={ids.password}>{t("signIn.password")}</label>
        <input
          id={ids.password}
          type="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
        {failure && (
          <p className="banner bad" role="alert">
            {words(failure)}
          </p>
        )}
        <button type="submit" className="button primary full" disabled={working}>
          {t(working ? "signIn.working" : "signIn.submit")}
        </button>
        <p className="quiet">{t("signIn.hint")}</p>
      </form>
      <LanguageSwitch />
    </main>
  );
}
