import { controllerClock } from "../clock";
import type { AnalystVerdict, Approval, EventRow, Host, Incident, IncidentRow, Label, Me, Order, StepOrder } from "./types";

/** What the controller answered instead of the thing asked for: RFC 9457, or no answer at all. */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 when nobody answered. */
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** Seconds to wait before the next try, when the controller asks for that. */
    readonly wait: number | undefined = undefined,
  ) {
    super(detail || title);
  }
}

type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** The REST interface. One place knows paths and headers. */
export class Api {
  constructor(
    private readonly fetch: Fetch = (input, init) => globalThis.fetch(input, init),
    private readonly base = "/api/v1",
  ) {}

  login = (username: string, password: string) => this.post<void>("/login", { username, password });
  logout = () => this.post<void>("/logout", {});
  me = () => this.get<Me>("/me");
  changePassword = (current: string, next: string) =>
    this.post<void>("/me/password", { current, new: next });
  hosts = () => this.list<Host>("/hosts");
  host = (id: string) => this.get<Host>(`/hosts/${encodeURIComponent(id)}`);
  incidents = () => this.list<IncidentRow>("/incidents");
  incident = (id: string) => this.get<Incident>(`/incidents/${encodeURIComponent(id)}`);
  /** Of one detection, or of those up to the last that was shown. */
  judge = (incident: string, label: Label, reason: string, about: { detection: number } | { through: number }) =>
    this.post<AnalystVerdict>(`/incidents/${encodeURIComponent(incident)}/verdict`, { label, reason, ...about });
  approvals = () => this.list<Approval>("/approvals");
  approve = (host: string, proposal: string, reason: string) =>
    this.post<Order>(`/hosts/${encodeURIComponent(host)}/approve`, { proposal, reason });
  refuse = (host: string, proposal: string, reason: string) =>
    this.post<Order>(`/hosts/${encodeURIComponent(host)}/refuse`, { proposal, reason });
  orders = () => this.list<Order>("/orders");
  order = (id: string) => this.get<Order>(`/orders/${encodeURIComponent(id)}`);
  events = (host: string, limit: number) =>
    this.list<EventRow>(`/events?${new URLSearchParams({ ...(host && { host }), limit: `${limit}` })}`);
  isolate = (host: string, reason: string, leaseSeconds: number) =>
    this.post<Order>(`/hosts/${encodeURIComponent(host)}/isolate`, { reason, lease_seconds: leaseSeconds });
  release = (host: string, reason: string) =>
    this.post<Order>(`/hosts/${encodeURIComponent(host)}/release`, { reason });
  step = (host: string, order: StepOrder) => this.post<Order>(`/hosts/${encodeURIComponent(host)}/orders`, order);
  undo = (order: string, reason: string) => this.post<Order>(`/orders/${encodeURIComponent(order)}/undo`, { reason });

  private get<T>(path: string): Promise<T> {
    return this.call<T>(path, { method: "GET" });
  }

  private async list<T>(path: string): Promise<T[]> {
    const answer = await this.get<unknown>(path);
    if (!Array.isArray(answer)) throw new ApiError(0, "unexpected answer", `${path} did not answer with a list`);
    return answer as T[];
  }

  private post<T>(path: string, body: unknown): Promise<T> {
    return this.call<T>(path, {
      method: "POST",
      body: JSON.stringify(body),
      // A foreign page cannot send this header, so a cookie alone changes nothing.
      headers: { "content-type": "application/json", "x-cordon-csrf": "1" },
    });
  }

  private async call<T>(path: string, init: RequestInit): Promise<T> {
    let response: Response;
    const askedAt = Date.now();
    try {
      response = await this.fetch(this.base + path, {
        ...init,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(10_000),
      });
    } catch {
      throw new ApiError(0, "no answer", "");
    }
    controllerClock.heard(response.headers.get("date"), askedAt);
    if (!response.ok) throw await problem(response);
    if (response.status === 204) return undefined as T;
    const text = await bodyOf(response);
    if (!text) return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError(0, "unexpected answer", `${path} did not answer with JSON`);
    }
  }
}

/** The body may break off after the head has arrived. */
async function bodyOf(response: Response): Promise<string> {
  try {
    return await response.text();
  } catch {
    throw new ApiError(0, "no answer", "");
  }
}

async function problem(response: Response): Promise<ApiError> {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  const wait = Number.isFinite(seconds) ? seconds : undefined;
  try {
    const { title, detail } = (await response.json()) as { title?: unknown; detail?: unknown };
    return new ApiError(
      response.status,
      typeof title === "string" ? title : response.statusText,
      typeof detail === "string" ? detail : "",
      wait,
    );
  } catch {
    return new ApiError(response.status, response.statusText, "", wait);
  }
}
