import type { ReactNode } from "react";
import type { Connection, Relative, Story, StoryProcess } from "../api/types";
import { useLanguage } from "../i18n";
import { commandLine, fileName } from "../text";
import { Hostile } from "./hostile";

/** Lineage from the farthest known ancestor down to the judged process, then its children. */
export function ProcessTree({ story, pid }: { story: Story; pid: number }) {
  const ancestors = [...(story.ancestors ?? [])].reverse();
  const judged = (
    <li>
      <Judged process={story.process ?? {}} pid={pid} connections={story.connections ?? []} />
      {(story.children?.length ?? 0) > 0 && (
        <ul>
          {story.children!.map((child, index) => (
            <li key={index}>
              <Node process={child} />
            </li>
          ))}
        </ul>
      )}
    </li>
  );
  const tree = ancestors.reduceRight<ReactNode>(
    (inner, ancestor) => (
      <li>
        <Node process={ancestor} />
        <ul>{inner}</ul>
      </li>
    ),
    judged,
  );
  return <ul className="tree">{tree}</ul>;
}

function Node({ process }: { process: Partial<Relative> }) {
  return (
    <div className="node">
      <Line process={process} />
    </div>
  );
}

function Judged({ process, pid, connections }: { process: Partial<StoryProcess>; pid: number; connections: Connection[] }) {
  const { t } = useLanguage();
  return (
    <div className="node judged" data-judged>
      <Line process={process} pid={pid} mark={t("incident.judged")} />
      <Facts process={process} connections={connections} />
    </div>
  );
}

function Line({ process, pid, mark }: { process: Partial<StoryProcess>; pid?: number; mark?: string }) {
  const { t } = useLanguage();
  const { exe = "", argv = [], uid, euid } = process;
  const first = argv[0] ?? "";
  return (
    <>
      <div className="node-head">
        <strong>
          <Hostile text={fileName(exe || first)} />
        </strong>
        {mark && <span className="badge judged-mark">{mark}</span>}
        <span className="quiet mono">
          {pid !== undefined && `${t("incident.pid")} ${pid} `}
          {uid !== undefined && `${t("incident.uid")} ${uid}`}
          {euid !== undefined && euid !== uid && ` ${t("incident.actingAs")} ${euid}`}
        </span>
        <span className="quiet mono path">
          <Hostile text={exe} />
        </span>
      </div>
      {argv.length > 0 && (
        <code className="argv">
          <Hostile text={commandLine(argv)} />
        </code>
      )}
    </>
  );
}

/** Facts of the judged process; `telling` ones are those that ordinary work seldom has. */
interface Fact {
  text: string;
  telling: boolean;
}

/** As many flows as fit a line; the table below the tree has all. */
const FLOWS_SHOWN = 3;

function Facts({ process, connections }: { process: Partial<StoryProcess>; connections: Connection[] }) {
  const { t, tv } = useLanguage();
  const facts: Fact[] = connections.slice(0, FLOWS_SHOWN).map(({ direction, address, port, protocol }) => ({
    text: `${direction === "in" ? "←" : "→"} ${address.includes(":") ? `[${address}]` : address}:${port}/${protocol}`,
    telling: true,
  }));
  for (const name of ["stdin", "stdout", "stderr"] as const) {
    const kind = process[name];
    if (kind && kind !== "unknown")
      facts.push({ text: t(`fact.${name}`, { kind: tv("stdio", kind) }), telling: kind === "socket" });
  }
  if (process.memfd) facts.push({ text: t("fact.memfd"), telling: true });
  if (process.deleted_exe) facts.push({ text: t("fact.deleted"), telling: true });
  if (process.tty === false) facts.push({ text: t("fact.noTerminal"), telling: false });
  if (process.cwd) facts.push({ text: t("fact.cwd", { path: process.cwd }), telling: false });
  if (facts.length === 0) return null;
  return (
    <ul className="facts">
      {facts.map((fact, index) => (
        <li key={index} className={fact.telling ? "fact telling" : "fact"}>
          <Hostile text={fact.text} />
        </li>
      ))}
    </ul>
  );
}
