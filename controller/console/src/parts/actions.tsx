import { useEffect, useId, useRef, useState, type FormEvent, type Ref } from "react";
import { ApiError } from "../api/client";
import type { Host, Order } from "../api/types";
import { useLanguage, type Key } from "../i18n";
import { mayAct, useSession } from "../session";
import { revealed } from "../text";
import { isShut } from "./badges";
import { useWhy } from "./live";
import { isFinal, newestFirst } from "./orders";

/** `extend` is an isolation order too: on a host that is shut it can only lengthen the lease. */
type Act = "isolate" | "extend" | "release";

const WORDS: Record<Act, { button: Key; title: Key; note: Key }> = {
  isolate: { button: "act.isolate", title: "act.isolateTitle", note: "act.isolateNote" },
  extend: { button: "act.extend", title: "act.extendTitle", note: "act.extendNote" },
  release: { button: "act.release", title: "act.releaseTitle", note: "act.releaseNote" },
};

const LEASES: { seconds: number; label: Key }[] = [
  { seconds: 3_600, label: "act.lease1h" },
  { seconds: 14_400, label: "act.lease4h" },
  { seconds: 86_400, label: "act.lease24h" },
  { seconds: 0, label: "act.leaseNone" },
];

export function possibleActs(host: Host): Act[] {
  if (!isShut(host.isolation)) return ["isolate"];
  return host.isolation?.lease_expires_at ? ["extend", "release"] : ["release"];
}

/** What can be ordered now, and how the last order fares; nothing at all for an account that may not. */
export function Actions({ host, orders, onSent }: { host: Host; orders: Order[]; onSent: () => void }) {
  const { who } = useSession();
  const { t } = useLanguage();
  const [asked, setAsked] = useState<Act | undefined>();
  const [sent, setSent] = useState<Order | undefined>();
  const status = useRef<HTMLSpanElement>(null);
  if (!mayAct(who)) return null;
  return (
    <div className="actions">
      <OrderStatus place={status} orders={orders} sent={sent} />
      {possibleActs(host).map((act) => (
        <button key={act} type="button" className={`button ${toneOf(act)}`} data-act={act} onClick={() => setAsked(act)}>
          {t(WORDS[act].button)}
        </button>
      ))}
      {asked && (
        <ReasonDialog
          act={asked}
          host={host}
          onDone={(order) => {
            setAsked(undefined);
            if (!order) return;
            setSent(order);
            status.current?.focus(); // the button that was pressed goes when the order is done
            onSent();
          }}
        />
      )}
    </div>
  );
}

function toneOf(act: Act): string {
  if (act === "isolate") return "danger";
  return act === "release" ? "primary" : "";
}

/** The order that was just sent, or else one that is still on its way, told to a screen reader as it moves. */
function OrderStatus({ place, orders, sent }: { place: Ref<HTMLSpanElement>; orders: Order[]; sent: Order | undefined }) {
  const { t, tv } = useLanguage();
  const order = sent
    ? (orders.find(({ id }) => id === sent.id) ?? sent)
    : [...orders].sort(newestFirst).find(({ state }) => !isFinal(state));
  return (
    <span ref={place} role="status" tabIndex={-1} className="quiet">
      {order && t("act.status", { verb: tv("order.verb", order.verb), state: tv("order", order.state) })}
    </span>
  );
}

function ReasonDialog({ act, host, onDone }: { act: Act; host: Host; onDone: (order: Order | undefined) => void }) {
  const { api } = useSession();
  const { t } = useLanguage();
  const why = useWhy();
  const dialog = useRef<HTMLDialogElement>(null);
  const ordered = useRef<Order | undefined>(undefined);
  const [reason, setReason] = useState("");
  const [lease, setLease] = useState(LEASES[0]!.seconds);
  const [sending, setSending] = useState(false);
  const [failure, setFailure] = useState<string | undefined>();
  const ids = { title: useId(), note: useId(), reason: useId(), hint: useId(), lease: useId() };
  useEffect(() => {
    const element = dialog.current;
    if (element && !element.open) element.showModal();
  }, []);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setSending(true);
    setFailure(undefined);
    try {
      ordered.current =
        act === "release"
          ? await api.release(host.id, reason.trim())
          : await api.isolate(host.id, reason.trim(), lease);
      dialog.current?.close(); // closing, not removing, gives the focus back to the button
    } catch (error) {
      setFailure(error instanceof ApiError ? why(error) : String(error));
      setSending(false);
    }
  }

  return (
    <dialog ref={dialog} aria-labelledby={ids.title} aria-describedby={ids.note} onClose={() => onDone(ordered.current)}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id={ids.title}>{t(WORDS[act].title, { host: revealed(host.name) })}</h2>
        <p id={ids.note}>{t(WORDS[act].note)}</p>
        {!host.online && <p className="banner warn">{t("act.offline")}</p>}
        <label htmlFor={ids.reason}>{t("act.reason")}</label>
        <textarea
          id={ids.reason}
          aria-describedby={ids.hint}
          rows={3}
          maxLength={500}
          required
          autoFocus
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
        <p id={ids.hint} className="quiet">
          {t("act.reasonNote")}
        </p>
        {act !== "release" && <LeaseChoice id={ids.lease} value={lease} onChange={setLease} />}
        {failure && (
          <p className="banner bad" role="alert">
            {failure}
          </p>
        )}
        <div className="dialog-end">
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            {t("act.cancel")}
          </button>
          <button type="submit" className={`button ${toneOf(act)}`} disabled={sending || reason.trim() === ""}>
            {sending ? t("act.sending") : t(WORDS[act].button)}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function LeaseChoice({ id, value, onChange }: { id: string; value: number; onChange: (seconds: number) => void }) {
  const { t } = useLanguage();
  return (
    <>
      <label htmlFor={id}>{t("act.lease")}</label>
      <select id={id} value={value} onChange={(event) => onChange(Number(event.target.value))}>
        {LEASES.map(({ seconds, label }) => (
          <option key={seconds} value={seconds}>
            {t(label)}
          </option>
        ))}
      </select>
    </>
  );
}
