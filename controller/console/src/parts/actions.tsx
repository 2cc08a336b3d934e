import { useId, useRef, useState, type Ref } from "react";
import type { Host, Order } from "../api/types";
import { useLanguage, type Key } from "../i18n";
import { mayAct, useSession } from "../session";
import { revealed } from "../text";
import { isShut } from "./badges";
import { isFinal, newestFirst } from "./orders";
import { ReasonDialog } from "./reason-dialog";

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
        <ActDialog
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

function ActDialog({ act, host, onDone }: { act: Act; host: Host; onDone: (order: Order | undefined) => void }) {
  const { api } = useSession();
  const { t } = useLanguage();
  const [lease, setLease] = useState(LEASES[0]!.seconds);
  return (
    <ReasonDialog
      title={t(WORDS[act].title, { host: revealed(host.name) })}
      note={t(WORDS[act].note)}
      button={t(WORDS[act].button)}
      tone={toneOf(act)}
      offline={!host.online}
      send={(reason) => (act === "release" ? api.release(host.id, reason) : api.isolate(host.id, reason, lease))}
      onDone={onDone}
    >
      {act !== "release" && <LeaseChoice value={lease} onChange={setLease} />}
    </ReasonDialog>
  );
}

function LeaseChoice({ value, onChange }: { value: number; onChange: (seconds: number) => void }) {
  const { t } = useLanguage();
  const id = useId();
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
