import { describe, expect, it } from "vitest";
import { ControllerClock } from "../src/clock";
import { ago, bytes, clock, countdown, dateTime, localTime, micros, preciseTime } from "../src/format";

describe("times", () => {
  it("are UTC whatever offset they came with", () => {
    expect(dateTime("2026-11-24T16:20:45Z")).toBe("2026-11-24 16:20:45 UTC");
    expect(dateTime("2026-11-25T00:20:45.987654321+08:00")).toBe("2026-11-24 16:20:45 UTC");
    expect(preciseTime("2026-11-24T16:20:45.012345Z")).toBe("2026-11-24 16:20:45.012 UTC");
    expect(clock(Date.UTC(2026, 10, 24, 3, 4, 5))).toBe("03:04:05 UTC");
  });

  it("that cannot be read are shown as they came", () => {
    for (const show of [dateTime, preciseTime, (iso: string) => localTime(iso, "en")]) expect(show("soon")).toBe("soon");
    expect(ago("soon", 0, "en")).toBe("");
  });

  it("ago is in the language's words", () => {
    const now = Date.parse("2026-11-24T16:20:45Z");
    expect(ago("2026-11-24T16:20:45Z", now, "en")).toBe("now");
    expect(ago("2026-11-24T16:20:15Z", now, "en")).toBe("30 seconds ago");
    expect(ago("2026-11-24T16:15:45Z", now, "zh-Hans")).toBe("5分钟前");
    expect(ago("2026-11-22T16:20:45Z", now, "en")).toBe("2 days ago");
  });
});

describe("numbers", () => {
  it.each([
    [-5, "0:00"],
    [0, "0:00"],
    [59.9, "0:59"],
    [61, "1:01"],
    [3_599, "59:59"],
    [3_600, "1:00:00"],
    [360_000, "100:00:00"],
  ])("count %d s down as %s", (seconds, text) => expect(countdown(seconds)).toBe(text));

  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [44_040_192, "42.0 MiB"],
    [2 ** 31, "2.0 GiB"],
  ])("write %d bytes as %s", (count, text) => expect(bytes(count)).toBe(text));

  it.each([
    [999, "999 µs"],
    [14_230, "14.2 ms"],
    [1_500_000, "1.5 s"],
    [7_265_000_000, "2:01:05"],
  ])("write %d µs as %s", (count, text) => expect(micros(count)).toBe(text));
});

describe("ControllerClock", () => {
  const at = Date.parse("2026-11-24T16:20:45Z");
  const header = "Tue, 24 Nov 2026 16:20:45 GMT";

  it("follows the controller when this machine is off", () => {
    const clock = new ControllerClock(() => at + 3_600_000);
    clock.heard(header, at + 3_600_000);
    expect(clock.now()).toBe(at);
  });

  it("takes a difference below the header's resolution for none", () => {
    const clock = new ControllerClock(() => at + 900);
    clock.heard(header, at + 900);
    expect(clock.now()).toBe(at + 900);
  });

  it("keeps what it knows when the header is missing or senseless", () => {
    const clock = new ControllerClock(() => at + 60_000);
    clock.heard(header, at + 60_000);
    for (const nothing of [null, "", "yesterday"]) clock.heard(nothing, at + 60_000);
    expect(clock.now()).toBe(at);
  });
});
