import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { Api } from "../src/api/client";
import type {
  AnalystVerdict,
  Approval,
  Detection,
  Host,
  Incident,
  IncidentRow,
  IsolationReport,
  IsolationState,
  Order,
  Role,
  Story,
} from "../src/api/types";
import { LanguageProvider, type Language } from "../src/i18n";
import { byConcern, needsAttention } from "../src/pages/fleet";
import { lead } from "../src/pages/incident";
import { byUrgency } from "../src/pages/incidents";
import { Actions } from "../src/parts/actions";
import { AnalystCard } from "../src/parts/analyst";
import { ApprovalsCard } from "../src/parts/approvals";
import { isShut } from "../src/parts/badges";
import { Hostile } from "../src/parts/hostile";
import { IsolationCard } from "../src/parts/isolation";
import { OrdersCard } from "../src/parts/orders";
import { ProcessTree } from "../src/parts/process-tree";
import { StepButtons } from "../src/parts/steps";
import { VerdictCard } from "../src/parts/verdict";
import { SessionContext, type Session } from "../src/session";

function html(element: ReactElement, { role = "responder", language = "en" }: { role?: Role; language?: Language } = {}) {
  const session: Session = {
    api: new Api(),
    who: { state: "known", me: { username: "ann", role, must_change_password: false } },
    signIn: async () => {},
    signOut: async () => {},
    askAgain: () => {},
  };
  return renderToStaticMarkup(
    <LanguageProvider fixed={language}>
      <SessionContext value={session}>{element}</SessionContext>
    </LanguageProvider>,
  );
}

const inOneHour = new Date(Date.now() + 3_600_500).toISOString();

function report(state: IsolationState, more: Partial<IsolationReport> = {}): IsolationReport {
  return { id: "i1", state, reason: "malicious", probes: [], policy_version: 3, lease_expires_at: inOneHour, ...more };
}

function host(more: Partial<Host> = {}): Host {
  return {
    id: "h1",
    name: "ep1",
    group: "servers",
    addresses: ["10.99.0.11"],
    online: true,
    last_seen_at: "2026-11-24T16:20:45Z",
    agent_version: "0.1.0",
    kernel: "6.18",
    os: "Debian 12",
    sensor_mode: "ebpf",
    model: "behavior-1@3fa4c2d1",
    policy_version: 3,
    isolation: null,
    peers: null,
    heartbeat: null,
    ...more,
  };
}

const order: Order = {
  id: "o1",
  host: { id: "h1", name: "ep1" },
  verb: "release",
  subject: "",
  state: "done",
  reason: "planned work",
  requested_by: "ann",
  issued_at: "2026-11-24T16:20:45Z",
  expires_at: "2026-11-24T16:30:45Z",
  history: [
    { state: "queued", at: "2026-11-24T16:20:45Z", detail: null, signed: false, moved: true },
    { state: "delivered", at: "2026-11-24T16:20:45.1Z", detail: null, signed: false, moved: true },
    { state: "started", at: "2026-11-24T16:20:45.2Z", detail: "", signed: true, moved: true },
    { state: "done", at: "2026-11-24T16:20:45.3Z", detail: "table inet cordon is gone", signed: true, moved: true },
  ],
  undoes: null,
  undone_by: null,
  can_undo: false,
};

function approval(more: Partial<Approval> = {}): Approval {
  return {
    id: "p1",
    host: { id: "h1", name: "ep1" },
    incident: "i1",
    steps: { isolate: true, stop: "freeze", cut_off: true, block: { seconds: 60 } },
    made_at: "2026-11-24T16:20:45Z",
    expires_at: inOneHour,
    unanswered: "nothing",
    offline: "act",
    exe: "/usr/bin/perl",
    score: 0.97,
    reason: "malicious",
    answer: null,
    ...more,
  };
}

const HOSTILE = "<img src=x onerror=alert(1)>\u202egpj\u0007";

const story: Story = {
  id: "1",
  process: { exe: `/tmp/${HOSTILE}`, argv: [HOSTILE, "&amp;"], uid: 33, euid: 0, stdin: "socket", cwd: HOSTILE },
  ancestors: [
    { exe: "/usr/bin/dash", argv: ["sh"] },
    { exe: "/usr/sbin/nginx", argv: [] },
  ],
  children: [{ exe: "/usr/bin/id", argv: ["id"] }],
  connections: [{ direction: "out", protocol: "tcp", address: "fd99::200", port: 4444 }],
};

const detection: Detection = {
  key: 7,
  at: "2026-11-24T16:20:45Z",
  tree: "t",
  pid: 4127,
  story,
  verdict: {
    id: "1",
    score: 0.984,
    verdict: "malicious",
    techniques: ["T1059.004"],
    reasons: [
      { text: HOSTILE, zh: HOSTILE, weight: 0.41 },
      { text: "working directory", zh: "工作目录", weight: -0.02 },
    ],
    stage: "model",
    model: "behavior-1@3fa4c2d1",
    micros: 4_100,
  },
  policy_version: 3,
  decision: "isolate",
  decision_reason: "within the caps",
  analyst_verdict: null,
};

function saying(more: Partial<AnalystVerdict> = {}): AnalystVerdict {
  return { label: "benign", reason: "the roll-out", analyst: "kim", at: "2026-11-24T17:00:00Z", detection: null, ...more };
}

function incident(analyst_verdicts: AnalystVerdict[] = [], detections: Detection[] = [detection]): Incident {
  const text = { title: "t", summary: "s", risk: "", advice: [] };
  return {
    id: "i1",
    host: { id: "h1", name: "ep1" },
    opened_at: "2026-11-24T16:20:45Z",
    updated_at: "2026-11-24T16:20:45Z",
    status: "open",
    severity: "high",
    title: "t",
    summary: "s",
    techniques: [],
    tree: "t",
    score: 0.98,
    isolation: null,
    text: { en: text, zh: text },
    analyst_verdict: analyst_verdicts.find((said) => said.detection === null) ?? null,
    detections,
    measures: [],
    analyst_verdicts,
  };
}

describe("hostile text", () => {
  it("is shown, and is never markup", () => {
    const shown = html(<Hostile text={HOSTILE} />);
    expect(shown).toContain("&lt;img src=x onerror=alert(1)&gt;");
    expect(shown).toContain('<span class="spelled">U+202E</span>gpj<span class="spelled">\\x07</span>');
  });

  it.each(["en", "zh"] as const)("stays harmless in every part of an incident (%s)", (language) => {
    const parts = [
      <ProcessTree story={story} pid={1} />,
      <VerdictCard
        detection={{ ...detection, decision: HOSTILE, decision_reason: HOSTILE, decision_reason_zh: HOSTILE }}
      />,
      <IsolationCard
        host={host()}
        report={report("confirmed", { reason: HOSTILE, probes: [{ target: HOSTILE, reached: false, expected: false }] })}
      />,
      <OrdersCard orders={[{ ...order, reason: HOSTILE, requested_by: HOSTILE, subject: HOSTILE }]} onSent={() => {}} />,
      <AnalystCard incident={incident([saying({ reason: HOSTILE, analyst: HOSTILE })])} picked={detection} onSaid={() => {}} />,
    ];
    for (const part of parts) {
      const shown = html(part, { language });
      expect(shown).toContain("U+202E");
      expect(shown).not.toMatch(/<img|[\u0000-\u0009\u202a-\u202e]/);
    }
  });
});

describe("why the policy decided so", () => {
  const both = { ...detection, decision_reason_zh: "未达到上限" };

  it("is said in the reader's language", () => {
    expect(html(<VerdictCard detection={both} />, { language: "zh" })).toContain("未达到上限");
    expect(html(<VerdictCard detection={both} />, { language: "en" })).toContain("within the caps");
  });

  it("is said in English where an older agent told nothing else", () => {
    expect(html(<VerdictCard detection={detection} />, { language: "zh" })).toContain("within the caps");
  });
});

describe("process tree", () => {
  const shown = html(<ProcessTree story={story} pid={4127} />);

  it("goes from the farthest ancestor down to the children", () => {
    const order = ["nginx", "dash", "pid 4127", "/usr/bin/id"].map((text) => shown.indexOf(text));
    expect(order).not.toContain(-1);
    expect([...order].sort((a, b) => a - b)).toEqual(order);
  });

  it("marks the judged process, once", () => {
    expect(shown.match(/data-judged/g)).toHaveLength(1);
    expect(shown).toContain("→ [fd99::200]:4444/tcp");
    expect(shown).toContain("stdin: network socket");
    expect(shown).toContain("acting as 0");
  });

  it("stands a story of which only text is known", () => {
    expect(html(<ProcessTree story={{ id: "1", command: "id" }} pid={0} />)).toContain("data-judged");
  });
});

describe("verdict", () => {
  it("shows score, stage, reasons with signed weights, and the policy's answer", () => {
    const shown = html(<VerdictCard detection={detection} />);
    for (const text of ["0.98", "malicious", "network", "+0.41", "−0.02", "within the caps"]) expect(shown).toContain(text);
    expect(shown.match(/data-reason/g)).toHaveLength(2);
  });

  it("gives its reasons in the reader's language, where it has them", () => {
    expect(html(<VerdictCard detection={detection} />, { language: "en" })).toContain("working directory");
    expect(html(<VerdictCard detection={detection} />, { language: "zh" })).toContain("工作目录");
    const old = { ...detection, verdict: { ...detection.verdict, reasons: [{ text: "an older agent's", weight: 1 }] } };
    expect(html(<VerdictCard detection={old} />, { language: "zh" })).toContain("an older agent");
  });
});

describe("isolation", () => {
  it.each<[IsolationState, boolean]>([
    ["applied", true],
    ["confirmed", true],
    ["unproven", true],
    ["released", false],
    ["failed", false],
  ])("%s is shut: %s, with a lease only then", (state, shut) => {
    expect(isShut(report(state))).toBe(shut);
    const shown = html(<IsolationCard host={host()} report={report(state)} />);
    expect(shown).toContain(`data-isolation="${shut ? "isolated" : "open"}"`);
    expect(shown.includes("data-lease")).toBe(shut);
  });

  it("never calls a failed or unproven isolation good", () => {
    expect(html(<IsolationCard host={host()} report={report("failed")} />)).toContain("The host is OPEN");
    expect(html(<IsolationCard host={host()} report={report("unproven")} />)).toContain("Do not rely on this");
  });

  it("counts the lease down, says when it is over, and when there is none", () => {
    const lease = (at: string | null) => html(<IsolationCard host={host()} report={report("confirmed", { lease_expires_at: at })} />);
    expect(lease(inOneHour)).toContain("1:00:00");
    expect(lease("2026-01-01T00:00:00Z")).toContain("The lease is over");
    expect(lease(null)).toContain("only a release opens it");
  });

  it("tells a probe that holds from one that does not", () => {
    const probes = [
      { target: "tcp 10.99.0.10:7443 marked", reached: true, expected: true },
      { target: "tcp 10.99.0.200:80", reached: true, expected: false },
    ];
    const shown = html(<IsolationCard host={host()} report={report("unproven", { probes })} />);
    expect([...shown.matchAll(/data-holds="(\w+)"/g)].map((match) => match[1])).toEqual(["true", "false"]);
    expect(shown).toContain("does not hold");
  });

  it("speaks of a missing proof only while the host is shut", () => {
    expect(html(<IsolationCard host={host()} report={report("applied")} />)).toContain("No probe was made yet");
    expect(html(<IsolationCard host={host()} report={report("released")} />)).not.toContain("No probe");
  });

  it("of an offline host is its last word", () => {
    const shown = html(<IsolationCard host={host({ online: false })} report={report("confirmed")} />);
    expect(shown).toContain("Not known to be true now");
    expect(shown).not.toContain('class="good">Proved');
  });
});

describe("actions", () => {
  const buttons = (role: Role, isolation: IsolationReport | null) =>
    [...html(<Actions host={host({ isolation })} orders={[]} onSent={() => {}} />, { role }).matchAll(/data-act="(\w+)"/g)].map(
      (match) => match[1],
    );

  it("are none for those who may not", () => {
    for (const role of ["viewer", "auditor"] as Role[]) {
      expect(html(<Actions host={host()} orders={[]} onSent={() => {}} />, { role })).toBe("");
    }
  });

  it("are what is possible now", () => {
    for (const role of ["responder", "engineer", "admin"] as const) {
      expect(buttons(role, null)).toEqual(["isolate"]);
      expect(buttons(role, report("failed"))).toEqual(["isolate"]);
      expect(buttons(role, report("released"))).toEqual(["isolate"]);
      expect(buttons(role, report("confirmed"))).toEqual(["extend", "release"]);
      expect(buttons(role, report("unproven", { lease_expires_at: null }))).toEqual(["release"]);
    }
  });

  it("tell how an order on its way fares, and are silent about old ones", () => {
    const shown = (state: Order["state"]) => html(<Actions host={host()} orders={[{ ...order, state }]} onSent={() => {}} />);
    expect(shown("delivered")).toContain("Order to release: delivered");
    expect(shown("done")).not.toContain("Order to");
  });
});

describe("orders", () => {
  it("mark as signed only what the host signed", () => {
    const shown = html(<OrdersCard orders={[order]} onSent={() => {}} />);
    const steps = [...shown.matchAll(/data-step="(\w+)" data-signed="(\w+)"/g)].map((match) => match.slice(1));
    expect(steps).toEqual([
      ["queued", "false"],
      ["delivered", "false"],
      ["started", "true"],
      ["done", "true"],
    ]);
    expect(shown.match(/signed by the host/g)).toHaveLength(2);
  });

  it("say of a late receipt that it changed nothing", () => {
    const late = { state: "failed", at: "2026-11-24T16:21:00Z", detail: null, signed: true, moved: false } as const;
    expect(html(<OrdersCard orders={[order]} onSent={() => {}} />)).not.toContain("came too late");
    expect(html(<OrdersCard orders={[{ ...order, history: [...order.history, late] }]} onSent={() => {}} />)).toContain("came too late");
  });

  it("come newest first, and a long list says what it leaves out", () => {
    const many = Array.from({ length: 22 }, (_, n) => ({
      ...order,
      id: `o${n}`,
      reason: `reason ${n}.`,
      issued_at: new Date(n * 1_000).toISOString(),
    }));
    const shown = html(<OrdersCard orders={many} onSent={() => {}} />);
    expect(shown.indexOf("reason 21.")).toBeLessThan(shown.indexOf("reason 20."));
    expect(shown).not.toContain("reason 1.");
    expect(shown).toContain("2 older orders are not shown");
  });
});

describe("steps against a process", () => {
  const named = { ...detection, process: "0f3c9a1e:4127:3210000000" };
  const steps = (role: Role, of: Detection) =>
    [...html(<StepButtons host={host()} detection={of} onSent={() => {}} />, { role }).matchAll(/data-step-order="(\w+)"/g)].map(
      ([, step]) => step,
    );

  it("are offered to those who may give orders, and to nobody else", () => {
    expect(steps("viewer", named)).toEqual([]);
    for (const role of ["responder", "engineer", "admin"] as const)
      expect(steps(role, named)).toEqual(["freeze_tree", "cut_off", "kill_tree", "block_remote", "quarantine_file"]);
  });

  it("are those that can be meant", () => {
    expect(steps("responder", detection)).toEqual(["block_remote", "quarantine_file"]);
    const quiet = { ...named, story: { ...story, connections: [{ ...story.connections![0]!, direction: "in" }] } };
    expect(steps("responder", quiet)).not.toContain("block_remote");
    const fileless = { ...named, story: { ...story, process: { ...story.process, memfd: true } } };
    expect(steps("responder", fileless)).not.toContain("quarantine_file");
  });
});

describe("undo", () => {
  const undo = (role: Role, more: Partial<Order>) =>
    html(<OrdersCard orders={[{ ...order, ...more }]} onSent={() => {}} />, { role }).includes("data-undo");

  it("is offered of what can be undone, to those who may", () => {
    expect(undo("responder", { can_undo: true })).toBe(true);
    expect(undo("responder", { can_undo: false })).toBe(false);
    expect(undo("viewer", { can_undo: true })).toBe(false);
  });

  it("shows what was undone", () => {
    const shown = (state: Order["state"]) =>
      html(<OrdersCard orders={[{ ...order, undone_by: { order: "o2", state } }]} onSent={() => {}} />).includes("undone");
    expect([shown("done"), shown("queued"), shown("failed")]).toEqual([true, false, false]);
  });
});

describe("what comes first", () => {
  it("is the failed isolation, then the isolated, then what needs a look, then the rest by name", () => {
    const hosts = [
      host({ name: "ep10" }),
      host({ name: "ep2" }),
      host({ name: "proc", sensor_mode: "proc" }),
      host({ name: "shut", isolation: report("confirmed") }),
      host({ name: "failed", isolation: report("failed") }),
    ];
    expect(hosts.sort(byConcern).map(({ name }) => name)).toEqual(["failed", "shut", "proc", "ep2", "ep10"]);
  });

  it("counts loss, silence and reduced sight as needing attention", () => {
    const beat = { rss_bytes: 1, cpu_micros: 1, events_seen: 1, events_lost: 1, spool_records: 0, spool_bytes: 0, isolated: false };
    expect(needsAttention(host())).toBe(false);
    expect(needsAttention(host({ isolation: report("confirmed") }))).toBe(false);
    for (const odd of [{ online: false }, { sensor_mode: "proc" }, { heartbeat: beat }, { isolation: report("unproven") }])
      expect(needsAttention(host(odd))).toBe(true);
  });

  it("is the most severe incident, then the newest", () => {
    const rows = [
      { severity: "low", opened_at: "2026-11-24T03:00:00Z" },
      { severity: "critical", opened_at: "2026-11-24T01:00:00Z" },
      { severity: "critical", opened_at: "2026-11-24T02:00:00Z" },
    ] as IncidentRow[];
    expect(rows.sort(byUrgency).map((row) => row.opened_at.slice(11, 13))).toEqual(["02", "01", "03"]);
  });

  it("is the worst detection, and nothing when there is none", () => {
    const of = (verdict: Detection["verdict"]["verdict"], score: number) => ({
      ...detection,
      verdict: { ...detection.verdict, verdict, score },
    });
    expect(lead([of("suspicious", 0.9), of("malicious", 0.8), of("malicious", 0.85)])?.verdict.score).toBe(0.85);
    expect(lead([])).toBeUndefined();
  });
});

describe("what people say", () => {
  const card = (whole: Incident, role: Role = "responder", language: Language = "en") =>
    html(<AnalystCard incident={whole} picked={detection} onSaid={() => {}} />, { role, language });
  const buttons = (shown: string) => [...shown.matchAll(/data-act="(\w+)"/g)].map((match) => match[1]);

  it("may be said by a responder and those above, and by nobody else", () => {
    for (const role of ["responder", "engineer", "admin"] as const) {
      expect(buttons(card(incident(), role))).toEqual(["malicious", "benign"]);
    }
    for (const role of ["viewer", "auditor"] as Role[]) {
      const shown = card(incident([saying()]), role);
      expect(shown).not.toContain("<button");
      expect(shown).toContain("the roll-out");
    }
  });

  it("is shown with who, why and about what, the newest first", () => {
    const other = { ...detection, key: 9 };
    const said = [saying({ label: "malicious", reason: "seen again", detection: 9 }), saying(), saying({ detection: 3 })];
    const shown = card(incident(said, [detection, other]));
    expect(shown.indexOf("seen again")).toBeLessThan(shown.indexOf("the roll-out"));
    for (const text of ["only detection 2", "all that was detected so far", "a detection that is not shown", "by kim"]) {
      expect(shown).toContain(text);
    }
    expect(shown).toContain('data-said="malicious"');
    expect(card(incident(said), "viewer", "zh")).toContain("由 kim 给出");
  });

  it("says so when nobody said anything, and how many older words there are", () => {
    expect(card(incident())).toContain("Nobody said yet");
    expect(card(incident(Array.from({ length: 22 }, () => saying())))).toContain("2 older words are not shown");
  });
});

describe("approvals", () => {
  const card = (more: Partial<Approval>, role: Role = "responder", language: Language = "en") =>
    html(<ApprovalsCard approvals={[approval(more)]} onSent={() => {}} />, { role, language });

  it("says what is proposed, how long it waits and what happens then", () => {
    const shown = card({});
    expect(shown).toContain("isolate the host, freeze the processes, cut the processes off the network, block their remote ends for 60 s");
    expect(shown).toContain("Then, without an answer: nothing is done. If the host cannot reach the controller then: it is done.");
    expect(shown).toMatch(/Waits for another <strong class="mono">(1:00:0|59:5|0:59:5)/);
    expect(card({}, "responder", "zh")).toContain("隔离主机、冻结相关进程");
  });

  it("is nothing when nothing waits", () => {
    expect(html(<ApprovalsCard approvals={[]} onSent={() => {}} />)).toBe("");
  });

  it("lets only those answer who may, and none while an answer is on its way", () => {
    const buttons = (shown: string) => [...shown.matchAll(/data-act="(\w+)"/g)].map((match) => match[1]);
    const answer = { order: "o1", verb: "approve", requested_by: "ann" };
    expect(buttons(card({}))).toEqual(["approve", "refuse"]);
    expect(buttons(card({}, "viewer"))).toEqual([]);
    expect(buttons(card({ answer: { ...answer, state: "delivered" } }))).toEqual([]);
    expect(buttons(card({ answer: { ...answer, state: "refused" } }))).toEqual(["approve", "refuse"]);
    expect(card({ answer: { ...answer, state: "delivered" } })).toContain("Order to approve a proposal: delivered");
  });

  it("stays harmless whatever the host says", () => {
    const shown = card({ exe: HOSTILE, reason: HOSTILE, host: { id: "h1", name: HOSTILE } });
    expect(shown).toContain("U+202E");
    expect(shown).not.toMatch(/<img|[\u0000-\u0009\u202a-\u202e]/);
  });

  it("says that the time is over when it is", () => {
    expect(card({ expires_at: "2026-11-24T16:20:45Z" })).toContain("Its time is over");
  });
});
