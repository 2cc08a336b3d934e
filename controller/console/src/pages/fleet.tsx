import { useMemo, useState } from "react";
import { usePoll } from "../api/poll";
import type { Heartbeat, Host } from "../api/types";
import { bytes, micros, whole } from "../format";
import { useLanguage } from "../i18n";
import { IsolationBadge, isShut, OnlineBadge } from "../parts/badges";
import { Hostile } from "../parts/hostile";
import { Live, LiveMark } from "../parts/live";
import { Ago } from "../parts/time";
import { link } from "../route";
import { useSession } from "../session";

export function Fleet() {
  const { api } = useSession();
  const { t } = useLanguage();
  const known = usePoll("hosts", api.hosts);
  return (
    <>
      <div className="page-head">
        <h1>{t("fleet.title")}</h1>
        <LiveMark known={known} />
      </div>
      <Live known={known}>{(hosts) => <Hosts hosts={hosts} />}</Live>
    </>
  );
}

/** Somebody should look: the effect is unproven or failed, events were lost, or the sensor is reduced. */
export function needsAttention(host: Host): boolean {
  return (
    host.isolation?.state === "unproven" ||
    host.isolation?.state === "failed" ||
    (host.heartbeat?.events_lost ?? 0) > 0 ||
    host.sensor_mode === "proc" ||
    !host.online
  );
}

function matches(host: Host, filter: string): boolean {
  const wanted = filter.trim().toLowerCase();
  return [host.name, host.group, ...host.addresses].some((text) => text.toLowerCase().includes(wanted));
}

/** The counts above the table; each shows only its hosts when pressed. */
const SELECTIONS = [
  { key: "fleet.total", tone: "", of: () => true },
  { key: "fleet.online", tone: "good", of: (host: Host) => host.online },
  { key: "fleet.isolated", tone: "shut", of: (host: Host) => isShut(host.isolation) },
  { key: "fleet.attention", tone: "warn", of: needsAttention },
] as const;

/** More rows than this are not drawn: the page stays quick with ten thousand hosts. */
const ROWS = 250;

/** Failed isolations first: there somebody is in and the host is open. Then isolated ones, then by name. */
export function byConcern(a: Host, b: Host): number {
  return concern(b) - concern(a) || a.name.localeCompare(b.name, "en", { numeric: true });
}

function concern(host: Host): number {
  if (host.isolation?.state === "failed") return 3;
  if (isShut(host.isolation)) return 2;
  return needsAttention(host) ? 1 : 0;
}

function Hosts({ hosts }: { hosts: Host[] }) {
  const { t } = useLanguage();
  const [filter, setFilter] = useState("");
  const [selected, setSelected] = useState(0);
  const shown = useMemo(
    () => hosts.filter((host) => SELECTIONS[selected]!.of(host) && matches(host, filter)).sort(byConcern),
    [hosts, filter, selected],
  );
  if (hosts.length === 0) return <p className="card quiet">{t("fleet.empty")}</p>;
  return (
    <>
      <div className="counts" role="group" aria-label={t("fleet.only")}>
        {SELECTIONS.map(({ key, tone, of }, index) => (
          <button
            key={key}
            type="button"
            className={`count ${tone}`}
            aria-pressed={selected === index}
            onClick={() => setSelected(index)}
          >
            {t(key, { count: hosts.filter(of).length })}
          </button>
        ))}
      </div>
      <input
        type="search"
        className="filter"
        aria-label={t("fleet.filter")}
        placeholder={t("fleet.filter")}
        value={filter}
        onChange={(event) => setFilter(event.target.value)}
      />
      {shown.length === 0 ? <p className="card quiet">{t("fleet.noMatch")}</p> : <HostTable hosts={shown.slice(0, ROWS)} />}
      {shown.length > ROWS && <p className="quiet">{t("fleet.more", { count: shown.length - ROWS })}</p>}
    </>
  );
}

function HostTable({ hosts }: { hosts: Host[] }) {
  const { t } = useLanguage();
  return (
    <div className="table-wrap" tabIndex={0} role="region" aria-label={t("fleet.title")}>
      <table className="rows">
        <thead>
          <tr>
            <th scope="col">{t("host.host")}</th>
            <th scope="col">{t("host.isolation")}</th>
            <th scope="col">{t("host.connection")}</th>
            <th scope="col" className="wide">{t("host.sensor")}</th>
            <th scope="col" className="wide">{t("host.agent")}</th>
            <th scope="col" className="wide">{t("host.policy")}</th>
            <th scope="col" className="wide">{t("host.cost")}</th>
            <th scope="col" className="wide">{t("host.events")}</th>
          </tr>
        </thead>
        <tbody>
          {hosts.map((host) => (
            <Row key={host.id} host={host} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ host }: { host: Host }) {
  const { t, tv } = useLanguage();
  return (
    <tr data-host={host.name}>
      <th scope="row">
        <a href={link.host(host.id)}>
          <Hostile text={host.name} />
        </a>
        <div className="quiet">
          <Hostile text={host.group} />{" "}
          <span className="mono">
            <Hostile text={host.addresses.slice(0, 2).join(" ")} />
          </span>
        </div>
      </th>
      <td>
        <IsolationBadge report={host.isolation} />
        {!host.online && host.isolation && <div className="quiet">{t("fleet.lastWord")}</div>}
      </td>
      <td>
        <OnlineBadge host={host} />
        <div className="quiet">{host.last_seen_at ? <Ago at={host.last_seen_at} /> : t("host.never")}</div>
      </td>
      <td className={host.sensor_mode === "proc" ? "wide warn" : "wide"}>
        {host.sensor_mode ? <Hostile text={tv("sensor", host.sensor_mode)} /> : t("host.unknown")}
      </td>
      <td className="wide">
        <Hostile text={host.agent_version ?? t("host.unknown")} />
        <div className="quiet mono">
          <Hostile text={host.model} />
        </div>
      </td>
      <td className="wide time">
        {host.policy_version ? t("host.policyVersion", { version: host.policy_version }) : t("host.noPolicy")}
      </td>
      <Cost beat={host.heartbeat} />
    </tr>
  );
}

function Cost({ beat }: { beat: Heartbeat | null }) {
  const { t } = useLanguage();
  if (!beat) return <td className="wide quiet" colSpan={2}>{t("host.unknown")}</td>;
  return (
    <>
      <td className="wide mono">
        {bytes(beat.rss_bytes)}
        <div className="quiet">
          {t("host.cpu")} {micros(beat.cpu_micros)}
        </div>
      </td>
      <td className="wide mono">
        {whole(beat.events_seen)}
        <div className={beat.events_lost > 0 ? "bad" : "quiet"}>
          {t("host.lost")} {whole(beat.events_lost)}
        </div>
      </td>
    </>
  );
}
