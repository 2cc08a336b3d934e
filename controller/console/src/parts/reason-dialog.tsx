import { useEffect, useId, useRef, useState, type FormEvent, type ReactNode } from "react";
import { ApiError } from "../api/client";
import { useLanguage } from "../i18n";
import { useWhy } from "./live";

interface Props<Sent> {
  title: string;
  note: string;
  button: string;
  tone: string;
  /** The order waits for its host. */
  offline: boolean;
  /** Without it nothing can be sent. */
  needsReason?: boolean;
  /** Where the reason goes; of an order unless said. */
  hint?: string;
  /** What else has to be known. */
  children?: ReactNode;
  send: (reason: string) => Promise<Sent>;
  /** With what the controller made of it, if it was sent. */
  onDone: (sent: Sent | undefined) => void;
}

/** Asks why, and sends an order, or what somebody says of an incident. */
export function ReasonDialog<Sent>(props: Props<Sent>) {
  const { title, note, button, tone, offline, needsReason = true, hint, children, send, onDone } = props;
  const { t } = useLanguage();
  const why = useWhy();
  const dialog = useRef<HTMLDialogElement>(null);
  const sent = useRef<Sent | undefined>(undefined);
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const [failure, setFailure] = useState<string | undefined>();
  const ids = { title: useId(), note: useId(), reason: useId(), hint: useId() };
  useEffect(() => {
    const element = dialog.current;
    if (element && !element.open) element.showModal();
  }, []);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setSending(true);
    setFailure(undefined);
    try {
      sent.current = await send(reason.trim());
      dialog.current?.close(); // closing, not removing, gives the focus back to the button
    } catch (error) {
      setFailure(error instanceof ApiError ? why(error) : String(error));
      setSending(false);
    }
  }

  return (
    <dialog ref={dialog} aria-labelledby={ids.title} aria-describedby={ids.note} onClose={() => onDone(sent.current)}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id={ids.title}>{title}</h2>
        <p id={ids.note}>{note}</p>
        {offline && <p className="banner warn">{t("act.offline")}</p>}
        <label htmlFor={ids.reason}>{t(needsReason ? "act.reason" : "act.reasonIfAny")}</label>
        <textarea
          id={ids.reason}
          aria-describedby={ids.hint}
          rows={3}
          maxLength={500}
          required={needsReason}
          autoFocus
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
        <p id={ids.hint} className="quiet">
          {hint ?? t("act.reasonNote")}
        </p>
        {children}
        {failure && (
          <p className="banner bad" role="alert">
            {failure}
          </p>
        )}
        <div className="dialog-end">
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            {t("act.cancel")}
          </button>
          <button type="submit" className={`button ${tone}`} disabled={sending || (needsReason && reason.trim() === "")}>
            {sending ? t("act.sending") : button}
          </button>
        </div>
      </form>
    </dialog>
  );
}
