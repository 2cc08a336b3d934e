import { useMemo, useState } from "react";
import { usePoll } from "../api/poll";
import type { Host, IncidentRow } from "../api/types";
import { useLanguage } from "../i18n";
import { ApprovalsCard } from "../parts/approvals";
import { AnalystBadge, IsolationBadge, SeverityBadge } from "../parts/badges";
import { Hostile } from "../parts/hostile";
import { Live, LiveMark } from "../parts/live";
import { Ago } from "../parts/time";
import { link } from "../route";
import { useSession } from "../session";
import { MAX_IN_ROW } from "../text";

export function Incidents() {
  const { api } = useSession();
  const { t } = useLanguage();
  const known = usePoll("incidents", async () => {
    const [incidents, hosts, approvals] = await Promise.all([api.incidents(), api.hosts(), api.approvals()]);
    return { incidents, hosts, approvals };
  });
  return (
    <>
      <div className="page-head">
        <h1>{t("incidents.title")}</h1>
        <LiveMark known={known} />
      </div>
      <Live known={known}>
        {({ approvals, ...data }) => (
          <>
            <ApprovalsCard approvals={approvals} onSent={known.refresh} />
            <Filtered {...data} />
          </>
        )}
      </Live>
    </>
  );
}

const RANK = { critical: 3, high: 2, medium: 1, low: 0 } as const;

/** Most urgent first, then newest first. */
export function byUrgency(a: IncidentRow, b: IncidentRow): number {
  return (RANK[b.severity] ?? 0) - (RANK[a.severity] ?? 0) || b.opened_at.localeCompare(a.opened_at);
}

function Filtered({ incidents, hosts }: { incidents: IncidentRow[]; hosts: Host[] }) {
  const { t, language } = useLanguage();
  const [filter, setFilter] = useState("");
  const shown = useMemo(() => {
    const wanted = filter.trim().toLowerCase();
    return incidents
      .filter((incident) =>
        [incident.text[language].title, incident.host.name, ...incident.techniques].some((text) =>
          text.toLowerCase().includes(wanted),
        ),
      )
      .sort(byUrgency);
  }, [incidents, filter, language]);
  if (incidents.length === 0) return <p className="card quiet">{t("incidents.empty")}</p>;
  return (
    <>
      <input
        type="search"
        className="filter"
        aria-label={t("incidents.filter")}
        placeholder={t("incidents.filter")}
        value={filter}
        onChange={(event) => setFilter(event.target.value)}
      />
      {shown.length === 0 ? <p className="card quiet">{t("incidents.noMatch")}</p> : <IncidentTable incidents={shown} hosts={hosts} />}
    </>
  );
}

/** More rows than this are not drawn. */
const ROWS = 250;

interface TableProps {
  incidents: IncidentRow[];
  /** Whose isolation is shown: an incident of its own may have caused none on a host that is shut by another. */
  hosts: Host[];
  /** The short form for the page of a host. */
  ofOneHost?: boolean;
}

export function IncidentTable({ incidents, hosts, ofOneHost = false }: TableProps) {
  const { t } = useLanguage();
  return (
    <>
      <div className="table-wrap" tabIndex={0} role="region" aria-label={t("incidents.title")}>
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">{t("incidents.severity")}</th>
              <th scope="col">{t("incidents.incident")}</th>
              <th scope="col">{t("host.isolation")}</th>
              <th scope="col">{t("incidents.opened")}</th>
              {!ofOneHost && (
                <th scope="col" className="wide">
                  {t("host.host")}
                </th>
              )}
              <th scope="col" className="wide">
                {t("incidents.score")}
              </th>
              {!ofOneHost && (
                <th scope="col" className="wide">
                  {t("incidents.techniques")}
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {incidents.slice(0, ROWS).map((incident) => (
              <Row
                key={incident.id}
                incident={incident}
                host={hosts.find(({ id }) => id === incident.host.id)}
                ofOneHost={ofOneHost}
              />
            ))}
          </tbody>
        </table>
      </div>
      {incidents.length > ROWS && <p className="quiet">{t("incidents.more", { count: incidents.length - ROWS })}</p>}
    </>
  );
}

function Row({ incident, host, ofOneHost }: { incident: IncidentRow; host: Host | undefined; ofOneHost: boolean }) {
  const { t, language } = useLanguage();
  return (
    <tr data-incident={incident.id} data-host={incident.host.name}>
      <td>
        <SeverityBadge severity={incident.severity} />
      </td>
      <th scope="row" className="title">
        <a href={link.incident(incident.id)}>
          <Hostile text={incident.text[language].title} limit={MAX_IN_ROW} />
        </a>{" "}
        {incident.analyst_verdict && <AnalystBadge said={incident.analyst_verdict} />}
      </th>
      <td>
        {host ? <IsolationBadge report={host.isolation} /> : t("host.unknown")}
        {host && !host.online && <div className="quiet">{t("fleet.lastWord")}</div>}
      </td>
      <td>
        <Ago at={incident.opened_at} />
      </td>
      {!ofOneHost && (
        <td className="wide name break">
          <a href={link.host(incident.host.id)}>
            <Hostile text={incident.host.name} limit={MAX_IN_ROW} />
          </a>
        </td>
      )}
      <td className="wide mono">{incident.score?.toFixed(2)}</td>
      {!ofOneHost && (
        <td className="wide name break mono">
          <Hostile text={incident.techniques.slice(0, 3).join(" ")} limit={MAX_IN_ROW} />
        </td>
      )}
    </tr>
  );
}
