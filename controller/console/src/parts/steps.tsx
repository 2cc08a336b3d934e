import { useId, useState, type ReactNode } from "react";
import type { Detection, Host, Order } from "../api/types";
import { useLanguage, type Key } from "../i18n";
import { mayAct, useSession } from "../session";
import { fileName, revealed } from "../text";
import { ReasonDialog } from "./reason-dialog";

/** Mildest first. */
const STEPS = ["freeze_tree", "cut_off", "kill_tree", "block_remote", "quarantine_file"] as const;
type Step = (typeof STEPS)[number];

const LASTS: { seconds: number; label: Key }[] = [
  { seconds: 3_600, label: "act.lease1h" },
  { seconds: 14_400, label: "act.lease4h" },
  { seconds: 86_400, label: "act.lease24h" },
];

/** Whom the judged process called, each once. */
function called({ story }: Detection): string[] {
  const outbound = (story.connections ?? []).filter(({ direction }) => direction === "out");
  return [...new Set(outbound.map(({ address }) => address))];
}

/** The image on disk that the judged process runs, where there is one. */
function imageOf({ story }: Detection): string | undefined {
  const { exe, memfd, deleted_exe } = story.process ?? {};
  return exe?.startsWith("/") && !memfd && !deleted_exe ? exe : undefined;
}

export function possibleSteps(detection: Detection): Step[] {
  // An agent that does not name the process by its start cannot be ordered to hit it and nobody else.
  const tree = detection.process !== undefined;
  return STEPS.filter((step) => {
    if (step === "block_remote") return called(detection).length > 0;
    if (step === "quarantine_file") return imageOf(detection) !== undefined;
    return tree;
  });
}

interface Props {
  host: Host;
  detection: Detection;
  onSent: () => void;
}

/** What can be ordered about the judged process, its remote ends and its file; nothing for an account that may not. */
export function StepButtons({ host, detection, onSent }: Props) {
  const { who } = useSession();
  const { t } = useLanguage();
  const [asked, setAsked] = useState<Step | undefined>();
  const steps = possibleSteps(detection);
  if (!mayAct(who) || steps.length === 0) return null;
  return (
    <div className="actions" role="group" aria-label={t("step.label")}>
      {steps.map((step) => (
        <button key={step} type="button" className={`button ${toneOf(step)}`} data-step-order={step} onClick={() => setAsked(step)}>
          {t(`step.${step}`)}
        </button>
      ))}
      {asked && (
        <StepDialog
          step={asked}
          host={host}
          detection={detection}
          onDone={(order) => {
            setAsked(undefined);
            if (order) onSent();
          }}
        />
      )}
    </div>
  );
}

function toneOf(step: Step): string {
  return step === "kill_tree" ? "danger" : "";
}

interface DialogProps {
  step: Step;
  host: Host;
  detection: Detection;
  onDone: (order: Order | undefined) => void;
}

function StepDialog({ step, host, detection, onDone }: DialogProps) {
  const { api } = useSession();
  const { t } = useLanguage();
  const addresses = called(detection);
  const [address, setAddress] = useState(addresses[0] ?? "");
  const [seconds, setSeconds] = useState(LASTS[0]!.seconds);
  const image = imageOf(detection) ?? "";
  const process = detection.process ?? "";
  const what = {
    freeze_tree: { process },
    cut_off: { process },
    kill_tree: { process },
    block_remote: { address, seconds },
    quarantine_file: { path: image, sha256: detection.exe_sha256 ?? null },
  }[step];
  const name = `${fileName(detection.story.process?.exe ?? "")} (${detection.pid})`;
  return (
    <ReasonDialog
      title={t(`step.title.${step}`, {
        subject: revealed(step === "quarantine_file" ? image : name),
        host: revealed(host.name),
      })}
      note={t(`step.note.${step}`)}
      button={t(`step.${step}`)}
      tone={toneOf(step)}
      offline={!host.online}
      send={(reason) => api.step(host.id, { verb: step, reason, ...what })}
      onDone={onDone}
    >
      {step === "block_remote" && (
        <>
          <Choice label={t("step.address")} value={address} onChange={setAddress}>
            {addresses.map((one) => (
              <option key={one} value={one}>
                {revealed(one)}
              </option>
            ))}
          </Choice>
          <Choice label={t("step.lasts")} value={`${seconds}`} onChange={(value) => setSeconds(Number(value))}>
            {LASTS.map(({ seconds: value, label }) => (
              <option key={value} value={value}>
                {t(label)}
              </option>
            ))}
          </Choice>
        </>
      )}
    </ReasonDialog>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  children: ReactNode;
}

function Choice({ label, value, onChange, children }: ChoiceProps) {
  const id = useId();
  return (
    <>
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {children}
      </select>
    </>
  );
}

/** Offers to undo what an order had its host do; nothing for an account that may not. */
export function UndoButton({ order, onSent }: { order: Order; onSent: () => void }) {
  const { who, api } = useSession();
  const { t, tv } = useLanguage();
  const [asked, setAsked] = useState(false);
  if (!mayAct(who) || !order.can_undo) return null;
  return (
    <>
      <button type="button" className="button small" data-undo={order.id} onClick={() => setAsked(true)}>
        {t("step.undo")}
      </button>
      {asked && (
        <ReasonDialog
          title={t("step.undoTitle", { verb: tv("order.verb", order.verb), host: revealed(order.host.name) })}
          note={t("step.undoNote")}
          button={t("step.undo")}
          tone="primary"
          offline={false}
          send={(reason) => api.undo(order.id, reason)}
          onDone={(sent) => {
            setAsked(false);
            if (sent) onSent();
          }}
        />
      )}
    </>
  );
}
