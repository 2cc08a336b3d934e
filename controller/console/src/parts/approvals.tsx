import { useState } from "react";
import type { AfterTime, Approval, Steps } from "../api/types";
import { countdown } from "../format";
import { useLanguage } from "../i18n";
import { link } from "../route";
import { mayAct, useSession } from "../session";
import { MAX_IN_ROW, revealed } from "../text";
import { Hostile } from "./hostile";
import { isFinal } from "./orders";
import { ReasonDialog } from "./reason-dialog";
import { Time, useNow } from "./time";

/** What waits for a yes or a no, the most urgent first; nothing at all when nothing does. */
export function ApprovalsCard({ approvals, onSent }: { approvals: Approval[]; onSent: () => void }) {
  const { t } = useLanguage();
  if (approvals.length === 0) return null;
  return (
    <section className="card" aria-labelledby="approvals-title" data-approvals={approvals.length}>
      <h2 id="approvals-title">{t("approval.title", { count: approvals.length })}</h2>
      {approvals.map((approval) => (
        <Waiting key={`${approval.host.id} ${approval.id}`} approval={approval} onSent={onSent} />
      ))}
    </section>
  );
}

function Waiting({ approval, onSent }: { approval: Approval; onSent: () => void }) {
  const { who } = useSession();
  const { t, tv } = useLanguage();
  const [asked, setAsked] = useState<"approve" | "refuse" | undefined>();
  const { answer } = approval;
  const isOnItsWay = answer !== null && !isFinal(answer.state);
  const rule = (after: AfterTime) => t(`approval.${after}`);
  return (
    <article className="order" data-approval={approval.id}>
      <h3>
        <a href={link.host(approval.host.id)}>
          <Hostile text={approval.host.name} limit={MAX_IN_ROW} />
        </a>
        : <Proposed steps={approval.steps} />
      </h3>
      <p>
        <a href={link.incident(approval.incident)}>
          <Hostile text={approval.exe || t("host.unknown")} limit={MAX_IN_ROW} />
        </a>
        , {t("verdict.malicious")} {approval.score.toFixed(2)}{" "}
        <span className="quiet">
          <Hostile text={approval.reason} />
        </span>
      </p>
      <p>
        <Left until={approval.expires_at} />{" "}
        <span className="quiet">
          {t("approval.then", { unanswered: rule(approval.unanswered), offline: rule(approval.offline) })}
        </span>
      </p>
      <div className="actions">
        <span role="status" className="quiet">
          {answer && t("act.status", { verb: tv("order.verb", answer.verb), state: tv("order", answer.state) })}
        </span>
        {mayAct(who) && !isOnItsWay && (
          <>
            <button type="button" className="button danger" data-act="approve" onClick={() => setAsked("approve")}>
              {t("approval.approve")}
            </button>
            <button type="button" className="button" data-act="refuse" onClick={() => setAsked("refuse")}>
              {t("approval.refuse")}
            </button>
          </>
        )}
      </div>
      {asked && (
        <AnswerDialog
          verb={asked}
          approval={approval}
          onDone={(isSent) => {
            setAsked(undefined);
            if (isSent) onSent();
          }}
        />
      )}
    </article>
  );
}

interface AnswerProps {
  verb: "approve" | "refuse";
  approval: Approval;
  onDone: (isSent: boolean) => void;
}

function AnswerDialog({ verb, approval, onDone }: AnswerProps) {
  const { api } = useSession();
  const { t } = useLanguage();
  const host = revealed(approval.host.name);
  return (
    <ReasonDialog
      title={t(`approval.${verb}Title`, { host })}
      note={t(`approval.${verb}Note`)}
      button={t(`approval.${verb}`)}
      tone={verb === "approve" ? "danger" : "primary"}
      offline={false}
      needsReason={verb === "refuse"}
      send={(reason) => api[verb](approval.host.id, approval.id, reason)}
      onDone={(order) => onDone(order !== undefined)}
    />
  );
}

/** What is proposed, each step a word or two. */
function Proposed({ steps }: { steps: Steps }) {
  const { t } = useLanguage();
  const said = [
    steps.isolate && t("approval.step.isolate"),
    steps.stop !== "none" && t(`approval.step.${steps.stop}`),
    steps.cut_off && t("approval.step.cut_off"),
    steps.block && t("approval.step.block", { seconds: steps.block.seconds }),
  ];
  return <>{said.filter(Boolean).join(t("approval.step.and"))}</>;
}

/** How long it waits, counted down by the controller's clock. */
function Left({ until }: { until: string }) {
  const { t } = useLanguage();
  const left = (Date.parse(until) - useNow()) / 1_000;
  if (left <= 0) return <>{t("approval.over")}</>;
  return (
    <>
      {t("approval.waits")} <strong className="mono">{countdown(left)}</strong>{" "}
      <span className="quiet">
        (<Time at={until} />)
      </span>
    </>
  );
}
