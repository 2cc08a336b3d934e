import { useId, useState } from "react";
import type { AnalystVerdict, Detection, Incident, Label } from "../api/types";
import { useLanguage } from "../i18n";
import { mayAct, useSession } from "../session";
import { MAX_IN_ROW } from "../text";
import { VerdictBadge } from "./badges";
import { Hostile } from "./hostile";
import { ReasonDialog } from "./reason-dialog";
import { Time } from "./time";

const LABELS: readonly Label[] = ["malicious", "benign"];
/** Older words are not drawn. */
const MOST = 20;

/** What people said of the incident and its detections, and the buttons to say it for those who may. */
export function AnalystCard({
  incident,
  picked,
  onSaid,
}: {
  incident: Incident;
  picked: Detection | undefined;
  onSaid: () => void;
}) {
  const { who } = useSession();
  const { t } = useLanguage();
  const [asked, setAsked] = useState<Label | undefined>();
  const said = incident.analyst_verdicts;
  return (
    <section className="card" aria-labelledby="analyst-title" data-said={said[0]?.label ?? "nothing"}>
      <h2 id="analyst-title">{t("analyst.title")}</h2>
      {said.length === 0 ? <p className="quiet">{t("analyst.nothing")}</p> : <Said incident={incident} />}
      {mayAct(who) && (
        <div className="actions">
          {LABELS.map((label) => (
            <button key={label} type="button" className="button" data-act={label} onClick={() => setAsked(label)}>
              {t(`analyst.${label}`)}
            </button>
          ))}
        </div>
      )}
      {asked && (
        <LabelDialog
          label={asked}
          incident={incident}
          picked={picked}
          onDone={(isSaid) => {
            setAsked(undefined);
            if (isSaid) onSaid();
          }}
        />
      )}
    </section>
  );
}

function Said({ incident }: { incident: Incident }) {
  const { t } = useLanguage();
  const said = incident.analyst_verdicts;
  return (
    <>
      <ol className="steps">
        {said.slice(0, MOST).map((one, index) => (
          <li key={index} data-label={one.label}>
            <VerdictBadge verdict={one.label} /> <Time at={one.at} />{" "}
            <span className="quiet">
              <Hostile text={t("analyst.by", { name: one.analyst })} limit={MAX_IN_ROW} />, <About said={one} incident={incident} />
            </span>
            <span className="step-detail">
              <Hostile text={one.reason} />
            </span>
          </li>
        ))}
      </ol>
      {said.length > MOST && <p className="quiet">{t("analyst.older", { count: said.length - MOST })}</p>}
    </>
  );
}

/** Which detection it is about, by its place on this page. */
function About({ said, incident }: { said: AnalystVerdict; incident: Incident }) {
  const { t } = useLanguage();
  if (said.detection === null) return <>{t("analyst.ofAll")}</>;
  const place = incident.detections.findIndex(({ key }) => key === said.detection);
  return <>{place < 0 ? t("analyst.ofOther") : t("analyst.ofOne", { number: place + 1 })}</>;
}

interface LabelProps {
  label: Label;
  incident: Incident;
  picked: Detection | undefined;
  onDone: (isSaid: boolean) => void;
}

function LabelDialog({ label, incident, picked, onDone }: LabelProps) {
  const { api } = useSession();
  const { t } = useLanguage();
  const id = useId();
  const [onlyPicked, setOnlyPicked] = useState(false);
  // What came while the dialog was open was not seen: the page behind it goes on asking.
  const [through] = useState(() => Math.max(0, ...incident.detections.map(({ key }) => key)));
  const place = picked ? incident.detections.findIndex(({ key }) => key === picked.key) : -1;
  return (
    <ReasonDialog<AnalystVerdict>
      title={t(`analyst.${label}Title`)}
      note={t("analyst.note")}
      button={t(`analyst.${label}`)}
      tone="primary"
      offline={false}
      hint={t("analyst.reasonNote")}
      send={(reason) => api.judge(incident.id, label, reason, onlyPicked && picked ? { detection: picked.key } : { through })}
      onDone={(said) => onDone(said !== undefined)}
    >
      {incident.detections.length > 1 && place >= 0 && (
        <>
          <label htmlFor={id}>{t("analyst.about")}</label>
          <select id={id} value={onlyPicked ? "one" : "all"} onChange={(event) => setOnlyPicked(event.target.value === "one")}>
            <option value="all">{t("analyst.ofAll")}</option>
            <option value="one">{t("analyst.ofOne", { number: place + 1 })}</option>
          </select>
        </>
      )}
    </ReasonDialog>
  );
}
