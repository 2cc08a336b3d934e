import type { Detection } from "../api/types";
import { micros } from "../format";
import { useLanguage } from "../i18n";
import { MAX_IN_ROW } from "../text";
import { VerdictBadge } from "./badges";
import { Hostile } from "./hostile";

/** The score, who gave it, and the parts of the story that carry it. */
export function VerdictCard({ detection }: { detection: Detection }) {
  const { language, t, tv } = useLanguage();
  const { verdict } = detection;
  const why = (language === "zh" && detection.decision_reason_zh) || detection.decision_reason;
  return (
    <section className="card" aria-labelledby="verdict-title" data-verdict={verdict.verdict}>
      <h2 id="verdict-title">{t("incident.verdict")}</h2>
      <div className="score">
        <span className="score-number">{verdict.score.toFixed(2)}</span>
        <div>
          <VerdictBadge verdict={verdict.verdict} />
          <div className="quiet">{t("incident.probability")}</div>
        </div>
        <dl className="pairs">
          <dt>{t("incident.stage")}</dt>
          <dd>
            {tv("stage", verdict.stage)}{" "}
            <span className="mono break">
              <Hostile text={verdict.model} />
            </span>{" "}
            {t("incident.took", { time: micros(verdict.micros) })}
          </dd>
          <dt>{t("incident.decision")}</dt>
          <dd>
            <strong>
              <Hostile text={tv("decision", detection.decision)} />
            </strong>
            <br />
            <Hostile text={why} limit={MAX_IN_ROW} />
          </dd>
          {detection.exe_sha256 && (
            <>
              <dt>{t("incident.sha256")}</dt>
              <dd className="mono break">
                <Hostile text={detection.exe_sha256} limit={MAX_IN_ROW} />
              </dd>
            </>
          )}
        </dl>
      </div>
      <h3 id="reasons-title">{t("incident.reasons")}</h3>
      {verdict.reasons.length === 0 ? (
        <p className="quiet">{t("incident.noReasons")}</p>
      ) : (
        <Reasons reasons={verdict.reasons} />
      )}
    </section>
  );
}

function Reasons({ reasons }: { reasons: Detection["verdict"]["reasons"] }) {
  const { language, t } = useLanguage();
  const largest = Math.max(...reasons.map((reason) => Math.abs(reason.weight)), 0.01);
  return (
    <>
      <p className="quiet">{t("incident.reasonsNote")}</p>
      <table className="reasons" aria-labelledby="reasons-title">
        <thead className="visually-hidden">
          <tr>
            <th scope="col">{t("incident.reason")}</th>
            <th scope="col">{t("incident.weight")}</th>
          </tr>
        </thead>
        <tbody>
          {reasons.map((reason, index) => (
            <tr key={index} data-reason>
              <td>
                <Hostile text={(language === "zh" && reason.zh) || reason.text} limit={MAX_IN_ROW} />
              </td>
              <td className="weight">
                <svg width="96" height="8" viewBox="0 0 96 8" aria-hidden="true" focusable="false">
                  <rect className="weight-track" width="96" height="8" rx="2" />
                  <rect
                    className={reason.weight < 0 ? "weight-against" : "weight-for"}
                    width={(96 * Math.abs(reason.weight)) / largest}
                    height="8"
                    rx="2"
                  />
                </svg>
                <span className="mono">{`${reason.weight < 0 ? "−" : "+"}${Math.abs(reason.weight).toFixed(2)}`}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
