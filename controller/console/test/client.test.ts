import { describe, expect, it } from "vitest";
import { Api, ApiError } from "../src/api/client";

interface Call {
  path: string;
  init: RequestInit;
}

function answering(...answers: (Response | Error)[]): { api: Api; calls: Call[] } {
  const calls: Call[] = [];
  const api = new Api(async (path, init) => {
    calls.push({ path, init });
    const answer = answers.shift();
    if (!answer || answer instanceof Error) throw answer ?? new Error("more calls than answers");
    return answer;
  });
  return { api, calls };
}

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

describe("requests", () => {
  it("asks under /api/v1, with the cookie and without the cache", async () => {
    const { api, calls } = answering(json([]));
    expect(await api.hosts()).toEqual([]);
    expect(calls[0]!.path).toBe("/api/v1/hosts");
    expect(calls[0]!.init).toMatchObject({ method: "GET", credentials: "same-origin", cache: "no-store" });
  });

  it("sends the header that a foreign page cannot, on everything that changes something", async () => {
    const { api, calls } = answering(new Response(null, { status: 204 }), json({}), json({}), json({}), json({}));
    await api.login("ann", "secret");
    await api.isolate("h1", "reverse shell", 3_600);
    await api.release("h1", "planned work");
    await api.logout();
    await api.changePassword("old", "new");
    for (const { init } of calls) {
      expect(init.method).toBe("POST");
      expect(init.headers).toMatchObject({ "x-cordon-csrf": "1", "content-type": "application/json" });
    }
    expect(JSON.parse(String(calls[1]!.init.body))).toEqual({ reason: "reverse shell", lease_seconds: 3_600 });
    expect(JSON.parse(String(calls[2]!.init.body))).toEqual({ reason: "planned work" });
    expect(JSON.parse(String(calls[4]!.init.body))).toEqual({ current: "old", new: "new" });
  });

  it("says what an incident was, and up to which detection it was seen", async () => {
    const { api, calls } = answering(json({}, 201), json({}, 201));
    await api.judge("i/1", "benign", "the roll-out", { through: 9 });
    await api.judge("i1", "malicious", "seen", { detection: 7 });
    expect(calls[0]!.path).toBe("/api/v1/incidents/i%2F1/verdict");
    expect(JSON.parse(String(calls[0]!.init.body))).toEqual({ label: "benign", reason: "the roll-out", through: 9 });
    expect(JSON.parse(String(calls[1]!.init.body))).toEqual({ label: "malicious", reason: "seen", detection: 7 });
    expect(calls[0]!.init.headers).toMatchObject({ "x-cordon-csrf": "1" });
  });

  it("keeps an id within its part of the path", async () => {
    const { api, calls } = answering(json({}), json([]));
    await api.incident("../users?x=1#y");
    await api.events("a&limit=9", 200);
    expect(calls[0]!.path).toBe("/api/v1/incidents/..%2Fusers%3Fx%3D1%23y");
    expect(calls[1]!.path).toBe("/api/v1/events?host=a%26limit%3D9&limit=200");
  });

  it("asks for the events of all hosts without a host", async () => {
    const { api, calls } = answering(json([]));
    await api.events("", 50);
    expect(calls[0]!.path).toBe("/api/v1/events?limit=50");
  });
});

describe("answers that are not what was asked for", () => {
  it("reads a problem document", async () => {
    const { api } = answering(json({ type: "about:blank", title: "Forbidden", status: 403, detail: "needs responder" }, 403));
    expect(await failure(api.me())).toMatchObject({ status: 403, title: "Forbidden", detail: "needs responder" });
  });

  it("takes a refusal without a problem document, or with a strange one", async () => {
    for (const body of ["<html>502</html>", "", "null", '{"title":7,"detail":{}}']) {
      const { api } = answering(new Response(body, { status: 502, statusText: "Bad Gateway" }));
      expect(await failure(api.hosts())).toMatchObject({ status: 502, title: "Bad Gateway", detail: "" });
    }
  });

  it("knows how long it is asked to wait", async () => {
    const slow = (value: string) => new Response("{}", { status: 429, headers: { "retry-after": value } });
    const { api } = answering(slow("8"), slow("Wed, 21 Oct 2026 07:28:00 GMT"));
    expect((await failure(api.login("ann", "guess"))).wait).toBe(8);
    expect((await failure(api.login("ann", "guess"))).wait).toBeUndefined();
  });

  it("calls silence status 0", async () => {
    const { api } = answering(new TypeError("Failed to fetch"));
    expect((await failure(api.hosts())).status).toBe(0);
  });

  it("never takes something else for a list", async () => {
    const { api } = answering(json({ items: [] }), json(null));
    expect((await failure(api.hosts())).detail).toContain("list");
    expect((await failure(api.orders())).status).toBe(0);
  });

  it("does not take a page for JSON", async () => {
    const { api } = answering(new Response("<!doctype html>"));
    expect((await failure(api.me())).detail).toContain("JSON");
  });

  it("takes an empty answer where nothing is expected", async () => {
    const { api } = answering(new Response(null, { status: 204 }), new Response(""));
    expect(await api.logout()).toBeUndefined();
    expect(await api.logout()).toBeUndefined();
  });
});
