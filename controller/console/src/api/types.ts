/** What the controller's REST interface answers. Endpoint text in here is hostile. */

export type Severity = "low" | "medium" | "high" | "critical";
export type VerdictKind = "not_evaluable" | "benign" | "suspicious" | "malicious";
export type IsolationState = "applied" | "confirmed" | "unproven" | "released" | "failed";
export type OrderState = "queued" | "delivered" | "started" | "done" | "failed" | "refused" | "expired";
/** A ladder: each may do what those before it may. */
export type Role = "viewer" | "responder" | "engineer" | "admin";

export interface Me {
  username: string;
  role: Role;
  /** The password in use was made by somebody else and is meant to be replaced. */
  must_change_password: boolean;
}

export interface Probe {
  target: string;
  reached: boolean;
  expected: boolean;
}

export interface IsolationReport {
  id: string;
  state: IsolationState;
  reason: string;
  tree?: string | null;
  lease_expires_at?: string | null;
  rules_sha256?: string | null;
  probes: Probe[];
  event_to_drop_micros?: number | null;
  policy_version: number;
  release?: { challenge: string; expires_at: string } | null;
}

export interface Heartbeat {
  rss_bytes: number;
  cpu_micros: number;
  events_seen: number;
  events_lost: number;
  spool_records: number;
  spool_bytes: number;
  isolated: boolean;
}

export interface Host {
  id: string;
  name: string;
  group: string;
  addresses: string[];
  online: boolean;
  last_seen_at: string | null;
  agent_version: string | null;
  kernel: string | null;
  os: string | null;
  sensor_mode: string | null;
  model: string | null;
  policy_version: number | null;
  isolation: IsolationReport | null;
  /** How many hosts of its group block it, of those that were told to. */
  peers: { blocking: number; told: number } | null;
  heartbeat: Heartbeat | null;
}

export interface Relative {
  exe: string;
  argv: string[];
  uid?: number;
}

export interface StoryProcess extends Relative {
  cwd: string;
  euid?: number;
  tty?: boolean;
  stdin: string;
  stdout: string;
  stderr: string;
  deleted_exe: boolean;
  memfd: boolean;
}

export interface Connection {
  direction: string;
  protocol: string;
  address: string;
  port: number;
}

export interface Story {
  id: string;
  process?: Partial<StoryProcess>;
  ancestors?: Partial<Relative>[];
  children?: Partial<Relative>[];
  connections?: Connection[];
  dns?: string[];
  files?: { op: string; path: string }[];
  command?: string;
  session?: string[];
}

export interface Verdict {
  id: string;
  score: number;
  verdict: VerdictKind;
  techniques: string[];
  reasons: { text: string; zh?: string; weight: number }[];
  stage: string;
  model: string;
  micros: number;
}

/** What a person calls a story. */
export type Label = "malicious" | "benign";

export interface AnalystVerdict {
  label: Label;
  reason: string;
  analyst: string;
  at: string;
  /** The `key` of the one detection that it is about; null: those that had come by then. */
  detection: number | null;
}

export interface Detection {
  /** Grows with the order of arrival; names it. */
  key: number;
  at: string;
  tree: string;
  pid: number;
  /** As orders name it; absent from agents that do not. */
  process?: string;
  story: Story;
  verdict: Verdict;
  policy_version: number;
  decision: string;
  decision_reason: string;
  /** The same in Chinese; agents of before told it in English only. */
  decision_reason_zh?: string;
  exe_sha256?: string;
  /** The newest word of a person that covers it. */
  analyst_verdict: AnalystVerdict | null;
}

export interface IncidentText {
  title: string;
  summary: string;
  risk: string;
  advice: string[];
}

export interface Measure {
  at: string;
  en: string;
  zh: string;
}

export interface IncidentRow {
  id: string;
  host: { id: string; name: string };
  opened_at: string;
  updated_at: string;
  /** `open` or `closed`: whether a person has finished with it. */
  status: string;
  severity: Severity;
  title: string;
  summary: string;
  techniques: string[];
  tree: string | null;
  score: number | null;
  isolation: IsolationReport | null;
  text: { en: IncidentText; zh: IncidentText };
  /** What was last said of it as a whole. */
  analyst_verdict: AnalystVerdict | null;
}

export interface Incident extends IncidentRow {
  detections: Detection[];
  measures: Measure[];
  /** Newest first. */
  analyst_verdicts: AnalystVerdict[];
}

export type AfterTime = "nothing" | "act";

/** What is done when a proposal is approved. */
export interface Steps {
  isolate: boolean;
  stop: "none" | "freeze" | "kill";
  cut_off: boolean;
  block?: { seconds: number };
}

/** What a host would do if somebody said yes. */
export interface Approval {
  id: string;
  host: { id: string; name: string };
  incident: string;
  steps: Steps;
  made_at: string;
  /** Until when it waits, by the host's clock. */
  expires_at: string;
  /** What happens then with the controller there, and what with the controller out of reach. */
  unanswered: AfterTime;
  offline: AfterTime;
  exe: string;
  score: number;
  reason: string;
  /** The newest answer that is on its way or was refused. */
  answer: { order: string; verb: string; requested_by: string; state: OrderState } | null;
}

export interface OrderStep {
  state: OrderState;
  at: string;
  detail: string | null;
  /** The state is the host's signed word. */
  signed: boolean;
  /** A receipt that came too late is kept, and moves nothing. */
  moved: boolean;
}

export interface Order {
  id: string;
  host: { id: string; name: string };
  verb: string;
  /** A process, an address or a file; empty when it is about the host. */
  subject: string;
  state: OrderState;
  reason: string;
  requested_by: string;
  issued_at: string;
  expires_at: string;
  history: OrderStep[];
  undoes: string | null;
  undone_by: { order: string; state: OrderState } | null;
  can_undo: boolean;
}

/** What a host is to do to a process tree, a remote end or a file. */
export interface StepOrder {
  verb: string;
  reason: string;
  process?: string;
  address?: string;
  seconds?: number;
  path?: string;
  sha256?: string | null;
}

export interface EventRow {
  host: { id: string; name: string };
  boot_id: string;
  sequence: number;
  at: string;
  kind: string;
  body: unknown;
  /** What the controller has to say about it, for example that a receipt's signature is bad. */
  note: string | null;
}
