import type { Incident } from "../api/types";
import { useLanguage } from "../i18n";
import { Hostile } from "./hostile";
import { Time } from "./time";

interface Moment {
  at: string;
  text: string;
  tone: "detection" | "measure";
}

/** What was seen and what was done, in one order of time. */
export function TimelineCard({ incident }: { incident: Incident }) {
  const { t, tv, language } = useLanguage();
  const moments: Moment[] = [
    ...incident.detections.map((detection): Moment => ({
      at: detection.at,
      tone: "detection",
      text: t("incident.detected", {
        verdict: tv("verdict", detection.verdict.verdict),
        score: detection.verdict.score.toFixed(2),
      }),
    })),
    ...incident.measures.map((measure): Moment => ({
      at: measure.at,
      tone: "measure",
      text: measure[language],
    })),
  ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return (
    <section className="card" aria-labelledby="timeline-title">
      <h2 id="timeline-title">{t("incident.timeline")}</h2>
      <ol className="steps">
        {moments.map((moment, index) => (
          <li key={index} className={moment.tone}>
            <Time at={moment.at} precise />
            <span className="step-detail">
              <Hostile text={moment.text} />
            </span>
          </li>
        ))}
      </ol>
      {incident.measures.length === 0 && <p className="quiet">{t("incident.noMeasures")}</p>}
    </section>
  );
}
