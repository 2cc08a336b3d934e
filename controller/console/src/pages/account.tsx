import { useId, useState, type FormEvent } from "react";
import { ApiError } from "../api/client";
import { useLanguage, type Key } from "../i18n";
import { useWhy } from "../parts/live";
import { useSession } from "../session";

type Told = { tone: "good" | "bad"; words: string } | undefined;

/** One's own account: today, its password. */
export function AccountPage() {
  const { api, askAgain } = useSession();
  const { t } = useLanguage();
  const why = useWhy();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const [working, setWorking] = useState(false);
  const [told, setTold] = useState<Told>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    if (next !== again) return setTold({ tone: "bad", words: t("account.differ") });
    setWorking(true);
    try {
      await api.changePassword(current, next);
      for (const clear of [setCurrent, setNext, setAgain]) clear("");
      setTold({ tone: "good", words: t("account.done") });
      askAgain();
    } catch (error) {
      const wrong = error instanceof ApiError && error.status === 401;
      const words = wrong ? t("account.wrong") : error instanceof ApiError ? why(error) : String(error);
      setTold({ tone: "bad", words });
    }
    setWorking(false);
  }

  return (
    <>
      <div className="page-head">
        <h1>{t("account.title")}</h1>
      </div>
      <form className="card form" onSubmit={(event) => void submit(event)}>
        <Password label="account.current" autoComplete="current-password" value={current} onChange={setCurrent} />
        <Password label="account.new" hint="account.rule" autoComplete="new-password" value={next} onChange={setNext} />
        <Password label="account.again" autoComplete="new-password" value={again} onChange={setAgain} />
        {told && (
          <p className={`banner ${told.tone}`} role={told.tone === "good" ? "status" : "alert"}>
            {told.words}
          </p>
        )}
        <button type="submit" className="button primary" disabled={working}>
          {t(working ? "account.working" : "account.submit")}
        </button>
      </form>
    </>
  );
}

interface PasswordProps {
  label: Key;
  hint?: Key;
  autoComplete: string;
  value: string;
  onChange: (value: string) => void;
}

function Password({ label, hint, autoComplete, value, onChange }: PasswordProps) {
  const { t } = useLanguage();
  const ids = { input: useId(), hint: useId() };
  return (
    <>
      <label htmlFor={ids.input}>{t(label)}</label>
      <input
        id={ids.input}
        type="password"
        autoComplete={autoComplete}
        aria-describedby={hint && ids.hint}
        required
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
      {hint && (
        <p id={ids.hint} className="quiet">
          {t(hint)}
        </p>
      )}
    </>
  );
}
