import { usePoll } from "../api/poll";
import type { Approval, Host, IncidentRow, Order } from "../api/types";
import { ago, bytes, micros, whole } from "../format";
import { tagOf, useLanguage } from "../i18n";
import { Actions } from "../parts/actions";
import { ApprovalsCard } from "../parts/approvals";
import { IsolationBadge, OnlineBadge } from "../parts/badges";
import { Hostile } from "../parts/hostile";
import { IsolationCard } from "../parts/isolation";
import { Live, LiveMark } from "../parts/live";
import { OrdersCard } from "../parts/orders";
import { useNow } from "../parts/time";
import { link } from "../route";
import { useSession } from "../session";
import { byUrgency, IncidentTable } from "./incidents";

interface Known {
  host: Host;
  incidents: IncidentRow[];
  orders: Order[];
  approvals: Approval[];
}

export function HostPage({ id }: { id: string }) {
  const { api } = useSession();
  const { t } = useLanguage();
  const known = usePoll<Known>(`host ${id}`, async () => {
    const [host, incidents, orders, approvals] = await Promise.all([
      api.host(id),
      api.incidents(),
      api.orders(),
      api.approvals(),
    ]);
    return {
      host,
      incidents: incidents.filter((incident) => incident.host.id === id).sort(byUrgency),
      orders: orders.filter((order) => order.host.id === id),
      approvals: approvals.filter((approval) => approval.host.id === id),
    };
  });
  return (
    <>
      <p className="crumb">
        <a href={link.fleet}>{t("fleet.title")}</a> <LiveMark known={known} />
      </p>
      <Live known={known}>{(data) => <Whole {...data} refresh={known.refresh} />}</Live>
    </>
  );
}

function Whole({ host, incidents, orders, approvals, refresh }: Known & { refresh: () => void }) {
  const { t } = useLanguage();
  return (
    <>
      <div className="incident-head" data-host={host.name}>
        <div>
          <div className="incident-line">
            <OnlineBadge host={host} />
            <IsolationBadge report={host.isolation} />
            <span className="quiet">
              <Hostile text={host.group} />
            </span>
          </div>
          <h1>
            <Hostile text={host.name} />
          </h1>
        </div>
        <Actions host={host} orders={orders} onSent={refresh} />
      </div>
      {!host.online && <OfflineNote host={host} />}
      <ApprovalsCard approvals={approvals} onSent={refresh} />
      <div className="columns">
        <div>
          <FactsCard host={host} />
          <section aria-labelledby="host-incidents">
            <h2 id="host-incidents" className="section-title">
              {t("host.incidents")}
            </h2>
            {incidents.length === 0 ? (
              <p className="card quiet">{t("incidents.empty")}</p>
            ) : (
              <IncidentTable incidents={incidents} hosts={[host]} ofOneHost />
            )}
            <p>
              <a href={link.events(host.id)}>{t("host.allEvents")}</a>
            </p>
          </section>
        </div>
        <div>
          <IsolationCard host={host} report={host.isolation} />
          <OrdersCard orders={orders} onSent={refresh} />
        </div>
      </div>
    </>
  );
}

function OfflineNote({ host }: { host: Host }) {
  const { t, language } = useLanguage();
  const now = useNow();
  const when = host.last_seen_at ? ago(host.last_seen_at, now, tagOf(language)) : t("host.never");
  return <p className="banner warn">{t("host.offlineNote", { ago: when })}</p>;
}

function FactsCard({ host }: { host: Host }) {
  const { t, tv } = useLanguage();
  const beat = host.heartbeat;
  const facts: [string, string][] = [
    [t("host.addresses"), host.addresses.join(", ")],
    [t("host.os"), host.os ?? t("host.unknown")],
    [t("host.kernel"), host.kernel ?? t("host.unknown")],
    [t("host.agent"), host.agent_version ?? t("host.unknown")],
    [t("host.sensor"), host.sensor_mode ? tv("sensor", host.sensor_mode) : t("host.unknown")],
    [t("host.model"), host.model ?? t("host.unknown")],
    [
      t("host.policy"),
      host.policy_version ? t("host.policyVersion", { version: host.policy_version }) : t("host.noPolicy"),
    ],
    [t("host.id"), host.id],
  ];
  if (beat) {
    facts.push(
      [t("host.memory"), bytes(beat.rss_bytes)],
      [t("host.cpu"), micros(beat.cpu_micros)],
      [t("host.events"), `${whole(beat.events_seen)}, ${t("host.lost")} ${whole(beat.events_lost)}`],
      [t("host.spool"), `${bytes(beat.spool_bytes)}, ${t("host.waiting")} ${beat.spool_records}`],
    );
  }
  return (
    <section className="card" aria-labelledby="facts-title">
      <h2 id="facts-title">{t("host.facts")}</h2>
      <dl className="pairs two">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="break">
              <Hostile text={value} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
