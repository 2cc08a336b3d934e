import { describe, expect, it } from "vitest";
import type { Detection, IncidentRow, IsolationState } from "../src/api/types";
import { byConcern, needsAttention } from "../src/pages/fleet";
import { lead } from "../src/pages/incident";
import { byUrgency } from "../src/pages/incidents";
import { AnalystCard } from "../src/parts/analyst";
import { isShut } from "../src/parts/badges";
import { Hostile } from "../src/parts/hostile";
import { IsolationCard } from "../src/parts/isolation";
import { OrdersCard } from "../src/parts/orders";
import { ProcessTree } from "../src/parts/process-tree";
import { VerdictCard } from "../src/parts/verdict";
import { detection, host, HOSTILE, html, incident, order, report, saying, story } from "./fixtures";

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
    expect(lease(new Date(Date.now() + 3_600_500).toISOString())).toContain("1:00:00");
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
