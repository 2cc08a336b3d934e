import { describe, expect, it } from "vitest";
import { link, parseRoute, type Route } from "../src/route";

describe("parseRoute", () => {
  const cases: [string, Route][] = [
    ["", { page: "fleet" }],
    ["#/", { page: "fleet" }],
    ["#/hosts", { page: "fleet" }],
    ["#/hosts/", { page: "fleet" }],
    ["#/hosts/h1", { page: "host", id: "h1" }],
    ["#/incidents", { page: "incidents" }],
    ["#/incidents/i1", { page: "incident", id: "i1" }],
    ["#/events", { page: "events", host: "" }],
    ["#/events?host=h1", { page: "events", host: "h1" }],
    ["#/account", { page: "account" }],
    ["#/nowhere/else", { page: "fleet" }],
    ["#javascript:alert(1)", { page: "fleet" }],
    ["#/hosts/%E0%A4%A", { page: "host", id: "%E0%A4%A" }],
  ];
  it.each(cases)("reads %j", (fragment, route) => expect(parseRoute(fragment)).toEqual(route));

  it.each(["h1", "a/b?c#d", "50 %", "主机", "../../login"])("comes back from a link to %j", (id) => {
    expect(parseRoute(link.host(id))).toEqual({ page: "host", id });
    expect(parseRoute(link.incident(id))).toEqual({ page: "incident", id });
    expect(parseRoute(link.events(id))).toEqual({ page: "events", host: id });
  });
});
