import { useState } from "react";
import { usePoll } from "../api/poll";
import type { Approval, Detection, Host, Incident, Order } from "../api/types";
import { useLanguage } from "../i18n";
import { Actions } from "../parts/actions";
import { AnalystCard } from "../parts/analyst";
import { ApprovalsCard } from "../parts/approvals";
import { AnalystBadge, IsolationBadge, isShut, OnlineBadge, SeverityBadge } from "../parts/badges";
import { Evidence } from "../parts/evidence";
import { Hostile } from "../parts/hostile";
import { IsolationCard, Lease } from "../parts/isolation";
import { Live, LiveMark } from "../parts/live";
import { OrdersCard } from "../parts/orders";
import { ProcessTree } from "../parts/process-tree";
import { StepButtons } from "../parts/steps";
import { Time } from "../parts/time";
import { TimelineCard } from "../parts/timeline";
import { VerdictCard } from "../parts/verdict";
import { link } from "../route";
import { useSession } from "../session";

interface Known {
  incident: Incident;
  host: Host;
  orders: Order[];
  approvals: Approval[];
}

export function IncidentPage({ id }: { id: string }) {
  const { api } = useSession();
  const { t } = useLanguage();
  const known = usePoll<Known>(`incident ${id}`, async () => {
    const incident = await api.incident(id);
    const [host, orders, approvals] = await Promise.all([api.host(incident.host.id), api.orders(), api.approvals()]);
    return {
      incident,
      host,
      orders: orders.filter((order) => order.host.id === host.id),
      approvals: approvals.filter((approval) => approval.incident === id),
    };
  });
  return (
    <>
      <p className="crumb">
        <a href={link.incidents}>{t("incident.back")}</a> <LiveMark known={known} />
      </p>
      <Live known={known}>{(data) => <Whole {...data} refresh={known.refresh} />}</Live>
    </>
  );
}

/** Worst first, so that the page opens on what the incident is about. */
export function lead(detections: Detection[]): Detection | undefined {
  const rank = { malicious: 3, suspicious: 2, benign: 1, not_evaluable: 0 } as const;
  return [...detections].sort(
    (a, b) => rank[b.verdict.verdict] - rank[a.verdict.verdict] || b.verdict.score - a.verdict.score,
  )[0];
}

function Whole({ incident, host, orders, approvals, refresh }: Known & { refresh: () => void }) {
  const { language, t } = useLanguage();
  const text = incident.text[language];
  const [picked, setPicked] = useState<number | undefined>();
  const detection = picked === undefined ? lead(incident.detections) : incident.detections[picked];
  // The host's own report is newer than the one kept with the incident, but may belong to another isolation.
  const isolation = host.isolation ?? incident.isolation;
  return (
    <>
      <Head incident={incident} host={host} orders={orders} title={text.title} refresh={refresh} />
      <ApprovalsCard approvals={approvals} onSent={refresh} />
      <div className="columns">
        <div>
          <section className="card" aria-labelledby="summary-title">
            <h2 id="summary-title">{t("incident.summary")}</h2>
            <p className="summary">
              <Hostile text={text.summary} />
            </p>
            {text.risk && (
              <>
                <h3>{t("incident.risk")}</h3>
                <p>
                  <Hostile text={text.risk} />
                </p>
              </>
            )}
            {text.advice.length > 0 && (
              <>
                <h3>{t("incident.advice")}</h3>
                <ol className="advice">
                  {text.advice.map((item, index) => (
                    <li key={index}>
                      <Hostile text={item} />
                    </li>
                  ))}
                </ol>
              </>
            )}
          </section>
          {incident.detections.length > 1 && (
            <DetectionPicker detections={incident.detections} picked={detection} onPick={setPicked} />
          )}
          {detection && (
            <>
              <VerdictCard detection={detection} />
              <section className="card" aria-labelledby="tree-title">
                <h2 id="tree-title">{t("incident.tree")}</h2>
                <ProcessTree story={detection.story} pid={detection.pid} />
                <StepButtons host={host} detection={detection} onSent={refresh} />
              </section>
              <Evidence story={detection.story} />
            </>
          )}
        </div>
        <div>
          <IsolationCard host={host} report={isolation} />
          <AnalystCard incident={incident} picked={detection} onSaid={refresh} />
          <TimelineCard incident={incident} />
          <OrdersCard orders={orders} onSent={refresh} />
        </div>
      </div>
    </>
  );
}

function Head({ incident, host, orders, title, refresh }: Omit<Known, "approvals"> & { title: string; refresh: () => void }) {
  const { tv } = useLanguage();
  const isolation = host.isolation ?? incident.isolation;
  return (
    <div className="incident-head">
      <div>
        <div className="incident-line">
          <SeverityBadge severity={incident.severity} />
          <span className="badge">{tv("status", incident.status)}</span>
          {incident.analyst_verdict && <AnalystBadge said={incident.analyst_verdict} />}
          <a href={link.host(host.id)}>
            <Hostile text={host.name} />
          </a>
          <Time at={incident.opened_at} />
          {!host.online && <OnlineBadge host={host} />}
          <IsolationBadge report={isolation} />
          {isolation && isShut(isolation) && (
            <span>
              <Lease until={isolation.lease_expires_at ?? null} />
            </span>
          )}
        </div>
        <h1>
          <Hostile text={title} />
        </h1>
        <ul className="chips">
          {incident.techniques.map((id) => (
            <li key={id} className="chip mono">
              <Hostile text={id} />
            </li>
          ))}
        </ul>
      </div>
      <Actions host={host} orders={orders} onSent={refresh} />
    </div>
  );
}

function DetectionPicker({
  detections,
  picked,
  onPick,
}: {
  detections: Detection[];
  picked: Detection | undefined;
  onPick: (index: number) => void;
}) {
  const { t, tv } = useLanguage();
  return (
    <p className="picker">
      <label>
        {t("incident.detections", { count: detections.length })}{" "}
        <select
          value={picked ? detections.indexOf(picked) : 0}
          onChange={(event) => onPick(Number(event.target.value))}
        >
          {detections.map((detection, index) => (
            <option key={index} value={index}>
              {`${index + 1}. ${tv("verdict", detection.verdict.verdict)} ${detection.verdict.score.toFixed(2)}, pid ${detection.pid}`}
            </option>
          ))}
        </select>
      </label>
    </p>
  );
}
