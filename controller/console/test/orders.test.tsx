import { describe, expect, it } from "vitest";
import type { Approval, Detection, Incident, IsolationReport, Order, Role } from "../src/api/types";
import type { Language } from "../src/i18n";
import { Actions } from "../src/parts/actions";
import { AnalystCard } from "../src/parts/analyst";
import { ApprovalsCard } from "../src/parts/approvals";
import { OrdersCard } from "../src/parts/orders";
import { StepButtons } from "../src/parts/steps";
import { approval, detection, host, HOSTILE, html, incident, order, report, saying, story } from "./fixtures";

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
