import type { Order, OrderState } from "../api/types";
import { dateTime } from "../format";
import { useLanguage } from "../i18n";
import { Hostile } from "./hostile";
import { UndoButton } from "./steps";
import { Time } from "./time";

const FINAL: readonly OrderState[] = ["done", "failed", "refused", "expired"];
/** As many as a responder reads; `cordonctl order` has the rest. */
const SHOWN = 20;

export function isFinal(state: OrderState): boolean {
  return FINAL.includes(state);
}

export function newestFirst(a: Order, b: Order): number {
  return Date.parse(b.issued_at) - Date.parse(a.issued_at);
}

/** Each order with its life. Only the host's signed receipt moves one past `delivered`. */
export function OrdersCard({ orders, onSent }: { orders: Order[]; onSent: () => void }) {
  const { t } = useLanguage();
  const newest = [...orders].sort(newestFirst);
  return (
    <section className="card" aria-labelledby="orders-title">
      <h2 id="orders-title">{t("incident.orders")}</h2>
      {orders.length === 0 && <p className="quiet">{t("incident.noOrders")}</p>}
      {newest.slice(0, SHOWN).map((order) => (
        <OrderLife key={order.id} order={order} onSent={onSent} />
      ))}
      {newest.length > SHOWN && <p className="quiet">{t("order.older", { count: newest.length - SHOWN })}</p>}
    </section>
  );
}

function tone(state: OrderState): string {
  if (state === "done") return "good";
  return isFinal(state) ? "bad" : "";
}

function OrderLife({ order, onSent }: { order: Order; onSent: () => void }) {
  const { t, tv } = useLanguage();
  return (
    <article className="order" data-order={order.verb} data-order-id={order.id} data-state={order.state}>
      <h3>
        <Hostile text={tv("order.verb", order.verb)} />{" "}
        <span className={`badge ${tone(order.state)}`}>{tv("order", order.state)}</span>
        {order.undone_by?.state === "done" && <span className="badge">{t("order.undone")}</span>}
      </h3>
      {order.subject && (
        <p className="mono break">
          <Hostile text={order.subject} />
        </p>
      )}
      <p>
        <Hostile text={order.reason} />{" "}
        <span className="quiet">
          <Hostile text={t("order.by", { name: order.requested_by })} />
          {!isFinal(order.state) && `; ${t("order.expires", { time: dateTime(order.expires_at) })}`}
        </span>
      </p>
      <ol className="steps" aria-label={t("order.life")}>
        {order.history.map((step, index) => (
          <li key={index} className={step.moved ? tone(step.state) : ""} data-step={step.state} data-signed={step.signed}>
            <span className="step-head">
              {tv("order", step.state)}
              {step.signed && <span className="badge signed">{t("order.signed")}</span>}
              {!step.moved && <span className="badge">{t("order.late")}</span>}
            </span>
            <Time at={step.at} precise />
            {step.detail && (
              <span className="quiet step-detail">
                <Hostile text={step.detail} />
              </span>
            )}
          </li>
        ))}
      </ol>
      <UndoButton order={order} onSent={onSent} />
    </article>
  );
}
