// What the tests of the console's parts are rendered with.

import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { Api } from "../src/api/client";
import type { AnalystVerdict, Approval, Detection, Host, Incident, IsolationReport, IsolationState, Order, Role, Story } from "../src/api/types";
import { LanguageProvider, type Language } from "../src/i18n";
import { SessionContext, type Session } from "../src/session";

export function html(element: ReactElement, { role = "responder", language = "en" }: { role?: Role; language?: Language } = {}) {
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

export const inOneHour = new Date(Date.now() + 3_600_500).toISOString();

export function report(state: IsolationState, more: Partial<IsolationReport> = {}): IsolationReport {
  return { id: "i1", state, reason: "malicious", probes: [], policy_version: 3, lease_expires_at: inOneHour, ...more };
}

export function host(more: Partial<Host> = {}): Host {
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

export const order: Order = {
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

export function approval(more: Partial<Approval> = {}): Approval {
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

export const HOSTILE = "<img src=x onerror=alert(1)>\u202egpj\u0007";

export const story: Story = {
  id: "1",
  process: { exe: `/tmp/${HOSTILE}`, argv: [HOSTILE, "&amp;"], uid: 33, euid: 0, stdin: "socket", cwd: HOSTILE },
  ancestors: [
    { exe: "/usr/bin/dash", argv: ["sh"] },
    { exe: "/usr/sbin/nginx", argv: [] },
  ],
  children: [{ exe: "/usr/bin/id", argv: ["id"] }],
  connections: [{ direction: "out", protocol: "tcp", address: "fd99::200", port: 4444 }],
};

export const detection: Detection = {
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

export function saying(more: Partial<AnalystVerdict> = {}): AnalystVerdict {
  return { label: "benign", reason: "the roll-out", analyst: "kim", at: "2026-11-24T17:00:00Z", detection: null, ...more };
}

export function incident(analyst_verdicts: AnalystVerdict[] = [], detections: Detection[] = [detection]): Incident {
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
