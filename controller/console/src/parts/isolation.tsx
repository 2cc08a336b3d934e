import type { Host, IsolationReport, Probe } from "../api/types";
import { countdown, micros } from "../format";
import { useLanguage, type Key } from "../i18n";
import { IsolationBadge, isShut } from "./badges";
import { Hostile } from "./hostile";
import { Ago, Time, useNow } from "./time";

/** What each state means for whoever relies on it. */
const NOTES: Record<IsolationReport["state"], Key> = {
  applied: "isolation.note.applied",
  confirmed: "isolation.note.confirmed",
  unproven: "isolation.note.unproven",
  released: "isolation.note.released",
  failed: "isolation.note.failed",
};

const TONES: Record<IsolationReport["state"], string> = {
  applied: "",
  confirmed: "good",
  unproven: "bad",
  released: "quiet",
  failed: "bad",
};

function isGood(report: IsolationReport): boolean {
  return TONES[report.state] === "good";
}

/** The host's isolation: where it stands, what proves it, when it ends. */
export function IsolationCard({ host, report }: { host: Host; report: IsolationReport | null }) {
  const { t } = useLanguage();
  return (
    <section className="card" aria-labelledby="isolation-title">
      <h2 id="isolation-title">
        {t("isolation.title")} <IsolationBadge report={report} />
      </h2>
      {!host.online && <LastWord host={host} />}
      {host.peers && <p data-peers>{t("isolation.peers", host.peers)}</p>}
      {report ? <Report host={host} report={report} /> : <p className="quiet">{t("isolation.never")}</p>}
    </section>
  );
}

/** The host is offline: its isolation is what it last said. */
function LastWord({ host }: { host: Host }) {
  const { t } = useLanguage();
  return (
    <p className="banner warn">
      {t("isolation.lastWord")} {host.last_seen_at && <Ago at={host.last_seen_at} />}
    </p>
  );
}

function Report({ host, report }: { host: Host; report: IsolationReport }) {
  const { t } = useLanguage();
  return (
    <>
      <p className={!host.online && isGood(report) ? "quiet" : TONES[report.state]}>{t(NOTES[report.state])}</p>
      {isShut(report) && (
        <p className="lease">
          <Lease until={report.lease_expires_at ?? null} />
        </p>
      )}
      <dl className="pairs">
        <dt>{t("isolation.reason")}</dt>
        <dd>
          <Hostile text={report.reason} />
        </dd>
        {report.event_to_drop_micros != null && (
          <>
            <dt>{t("isolation.speed")}</dt>
            <dd className="mono">{micros(report.event_to_drop_micros)}</dd>
          </>
        )}
        <dt>{t("isolation.policy")}</dt>
        <dd>
          {report.policy_version === 0
            ? t("isolation.byHand")
            : t("isolation.policyVersion", { version: report.policy_version })}
        </dd>
        {report.rules_sha256 && (
          <>
            <dt>{t("isolation.rules")}</dt>
            <dd className="mono break">
              <Hostile text={report.rules_sha256} />
            </dd>
          </>
        )}
      </dl>
      {(isShut(report) || report.probes.length > 0) && <Proof probes={report.probes} />}
    </>
  );
}

/** When the host opens by itself, counted down by the controller's clock. */
export function Lease({ until }: { until: string | null }) {
  const { t } = useLanguage();
  const now = useNow();
  if (until === null) return <>{t("isolation.noLease")}</>;
  const left = (Date.parse(until) - now) / 1_000;
  if (left <= 0) return <>{t("isolation.leaseOver")}</>;
  return (
    <>
      {t("isolation.lease")}{" "}
      <strong className="mono" data-lease>
        {countdown(left)}
      </strong>{" "}
      <span className="quiet">
        (<Time at={until} />)
      </span>
    </>
  );
}

function Proof({ probes }: { probes: Probe[] }) {
  const { t } = useLanguage();
  return (
    <>
      <h3 id="proof-title">{t("isolation.proof")}</h3>
      {probes.length === 0 ? <p className="quiet">{t("isolation.noProof")}</p> : <Probes probes={probes} />}
    </>
  );
}

function Probes({ probes }: { probes: Probe[] }) {
  const { t } = useLanguage();
  const word = (reached: boolean) => (reached ? t("isolation.reached") : t("isolation.blocked"));
  return (
    <table className="plain" aria-labelledby="proof-title">
      <thead>
        <tr>
          <th scope="col">{t("isolation.probe")}</th>
          <th scope="col">{t("isolation.wanted")}</th>
          <th scope="col">{t("isolation.found")}</th>
        </tr>
      </thead>
      <tbody>
        {probes.map((probe, index) => {
          const holds = probe.reached === probe.expected;
          return (
            <tr key={index} data-holds={holds}>
              <td className="mono break">
                <Hostile text={probe.target} />
              </td>
              <td>{word(probe.expected)}</td>
              <td className={holds ? "good" : "bad"}>
                <span aria-hidden="true">{holds ? "✓ " : "✗ "}</span>
                {word(probe.reached)}
                <span className="visually-hidden"> ({holds ? t("isolation.holds") : t("isolation.broken")})</span>
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
