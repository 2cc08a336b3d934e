import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../src/api/client";
import { Poll } from "../src/api/poll";
import { isStale, STALE_AFTER_MILLIS } from "../src/parts/live";

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

/** A source whose answers are given by hand. */
function source() {
  const waiting: { resolve: (n: number) => void; reject: (error: unknown) => void }[] = [];
  const load = vi.fn(() => new Promise<number>((resolve, reject) => void waiting.push({ resolve, reject })));
  const settle = async (act: (next: (typeof waiting)[number]) => void) => {
    act(waiting.shift()!);
    await vi.advanceTimersByTimeAsync(0);
  };
  return {
    load,
    answer: (n: number) => settle(({ resolve }) => resolve(n)),
    fail: (error: unknown) => settle(({ reject }) => reject(error)),
  };
}

describe("Poll", () => {
  it("asks again after each answer, never twice at once", async () => {
    const { load, answer } = source();
    const poll = new Poll(load, 2_000, Date.now);
    poll.start();
    poll.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(load).toHaveBeenCalledTimes(1);
    await answer(7);
    expect(poll.snapshot()).toEqual({ data: 7, error: undefined, at: 1_060_000 });
    await vi.advanceTimersByTimeAsync(1_999);
    expect(load).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(load).toHaveBeenCalledTimes(2);
    poll.stop();
  });

  it("keeps the last answer and its time beside the failure", async () => {
    const { load, answer, fail } = source();
    const poll = new Poll(load, 2_000, Date.now);
    poll.start();
    await answer(7);
    await vi.advanceTimersByTimeAsync(2_000);
    await fail(new ApiError(0, "no answer", ""));
    expect(poll.snapshot()).toMatchObject({ data: 7, at: 1_000_000, error: { status: 0 } });
    await vi.advanceTimersByTimeAsync(4_000);
    await answer(8);
    expect(poll.snapshot()).toMatchObject({ data: 8, error: undefined });
    poll.stop();
  });

  it("asks more slowly while nobody answers, and at its pace again afterwards", async () => {
    const { load, answer, fail } = source();
    const poll = new Poll(load, 2_000, Date.now);
    poll.start();
    for (const pause of [4_000, 8_000, 16_000, 30_000, 30_000]) {
      await fail(new Error("down"));
      const calls = load.mock.calls.length;
      await vi.advanceTimersByTimeAsync(pause - 1);
      expect(load).toHaveBeenCalledTimes(calls);
      await vi.advanceTimersByTimeAsync(1);
      expect(load).toHaveBeenCalledTimes(calls + 1);
    }
    await answer(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(load).toHaveBeenCalledTimes(7);
    poll.stop();
  });

  it("asks once more when something changed while an answer was under way", async () => {
    const { load, answer } = source();
    const poll = new Poll(load, 2_000, Date.now);
    poll.start();
    poll.refresh();
    expect(load).toHaveBeenCalledTimes(1);
    await answer(1);
    expect(load).toHaveBeenCalledTimes(2);
    await answer(2);
    expect(load).toHaveBeenCalledTimes(2);
    poll.stop();
  });

  it("is silent once stopped", async () => {
    const { load, answer } = source();
    const poll = new Poll(load, 2_000, Date.now);
    const told = vi.fn();
    poll.subscribe(told);
    poll.start();
    poll.stop();
    await answer(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told).not.toHaveBeenCalled();
    expect(load).toHaveBeenCalledTimes(1);
  });
});

describe("isStale", () => {
  const error = new ApiError(0, "no answer", "");
  it("is what failed since, or is too old, but not what never was", () => {
    expect(isStale({ data: 1, error: undefined, at: 1_000 }, 1_000 + STALE_AFTER_MILLIS)).toBe(false);
    expect(isStale({ data: 1, error: undefined, at: 1_000 }, 1_001 + STALE_AFTER_MILLIS)).toBe(true);
    expect(isStale({ data: 1, error, at: 1_000 }, 1_001)).toBe(true);
    expect(isStale({ data: undefined, error, at: undefined }, 1_001)).toBe(false);
  });
});
