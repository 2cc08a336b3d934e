import { usePoll } from "../api/poll";
import type { Detection, EventRow, Host, IsolationReport } from "../api/types";
import { readReceipt } from "../envelope";
import { micros } from "../format";
import { useLanguage } from "../i18n";
import { IsolationBadge, VerdictBadge } from "../parts/badges";
import { Hostile } from "../parts/hostile";
import { Live, LiveMark } from "../parts/live";
import { Time } from "../parts/time";
import { link } from "../route";
import { useSession } from "../session";
import { commandLine, MAX_IN_ROW, revealed } from "../text";

const LIMIT = 200;

export function Events({ host }: { host: string }) {
  const { api } = useSession();
  const { t } = useLanguage();
  const known = usePoll(`events ${host}`, async () => {
    const [events, hosts] = await Promise.all([api.events(host, LIMIT), api.hosts()]);
    return { events, hosts };
  });
  return (
    <>
      <div className="page-head">
        <h1>{t("events.title")}</h1>
        <LiveMark known={known} />
      </div>
      <Live known={known}>
        {({ events, hosts }) => (
          <>
            <HostFilter hosts={hosts} host={host} />
            <EventTable events={events} />
          </>
        )}
      </Live>
    </>
  );
}

function HostFilter({ hosts, host }: { hosts: Host[]; host: string }) {
  const { t } = useLanguage();
  return (
    <p className="picker">
      <label>
        {t("events.host")}{" "}
        <select value={host} onChange={(event) => (window.location.hash = link.events(event.target.value))}>
          <option value="">{t("events.allHosts")}</option>
          {hosts.map(({ id, name }) => (
            <option key={id} value={id}>
              {revealed(name)}
            </option>
          ))}
        </select>
      </label>{" "}
      <span className="quiet">{t("events.newest", { count: LIMIT })}</span>
    </p>
  );
}

function EventTable({ events }: { events: EventRow[] }) {
  const { t, tv } = useLanguage();
  if (events.length === 0) return <p className="card quiet">{t("events.empty")}</p>;
  return (
    <div className="table-wrap" tabIndex={0} role="region" aria-label={t("events.title")}>
      <table className="rows">
        <thead>
          <tr>
            <th scope="col">{t("events.at")}</th>
            <th scope="col">{t("events.host")}</th>
            <th scope="col">{t("events.kind")}</th>
            <th scope="col">{t("events.what")}</th>
          </tr>
        </thead>
        <tbody>
          {events.map((event) => (
            <tr data-kind={event.kind} key={`${event.host.id} ${event.boot_id} ${event.sequence}`}>
              <td className="when">
                <Time at={event.at} precise />
              </td>
              <td>
                <Hostile text={event.host.name} />
              </td>
              <td>
                <Hostile text={tv("event", event.kind)} />
              </td>
              <td className="what break">
                <What event={event} />
                {event.note && (
                  <div className="bad">
                    <Hostile text={event.note} limit={MAX_IN_ROW} />
                  </div>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One line for each kind; a kind that this page does not know is shown as it came. */
function What({ event }: { event: EventRow }) {
  switch (event.kind) {
    case "detection":
      return <DetectionWhat detection={event.body as Detection} />;
    case "isolation":
      return <IsolationWhat report={event.body as IsolationReport} />;
    case "receipt":
      return <ReceiptWhat body={event.body} />;
    case "policy":
    case "tamper":
    case "agent":
    case "loss":
      return <ReportWhat kind={event.kind} body={(event.body ?? {}) as Partial<Told>} />;
    default:
      return <Raw body={event.body} />;
  }
}

function Raw({ body }: { body: unknown }) {
  return (
    <code>
      <Hostile text={JSON.stringify(body)} limit={MAX_IN_ROW} />
    </code>
  );
}

function DetectionWhat({ detection }: { detection: Detection }) {
  const { process, command = "" } = detection.story;
  return (
    <>
      <VerdictBadge verdict={detection.verdict.verdict} />{" "}
      <span className="mono">{detection.verdict.score.toFixed(2)}</span>{" "}
      <code>
        <Hostile text={commandLine(process?.argv ?? []) || process?.exe || command} limit={MAX_IN_ROW} />
      </code>
    </>
  );
}

function IsolationWhat({ report }: { report: IsolationReport }) {
  return (
    <>
      <IsolationBadge report={report} /> <Hostile text={report.reason} limit={MAX_IN_ROW} />
    </>
  );
}

function ReceiptWhat({ body }: { body: unknown }) {
  const { t, tv } = useLanguage();
  const receipt = readReceipt(body);
  if (!receipt) return <Raw body={body} />;
  const text = t("event.receiptText", { state: tv("order", receipt.state), detail: receipt.detail });
  return <Hostile text={text} limit={MAX_IN_ROW} />;
}

/** The fields of policy, tamper, agent and loss reports. */
interface Told {
  version: number;
  applied: boolean;
  detail: string;
  what: string;
  repaired: boolean;
  micros: number;
  source: string;
  count: number;
  reason: string;
  act: string;
}

function ReportWhat({ kind, body }: { kind: "policy" | "tamper" | "agent" | "loss"; body: Partial<Told> }) {
  const { t } = useLanguage();
  const { version = 0, detail: why = "", what = "", count = 0, source = "" } = body;
  const words = {
    policy: () => (body.applied ? t("event.policyApplied", { version }) : t("event.policyRefused", { version, why })),
    tamper: () =>
      body.repaired
        ? t("event.repaired", { what, time: micros(body.micros ?? 0) })
        : t("event.notRepaired", { what }),
    agent: () => t(body.act === "removed" ? "event.agentRemoved" : "event.agentStopped", { why: body.reason ?? "" }),
    loss: () => t("event.lost", { count, source, why: body.reason ?? "" }),
  };
  return <Hostile text={words[kind]()} limit={MAX_IN_ROW} />;
}
