import { useEffect, useState, useSyncExternalStore } from "react";
import { controllerClock } from "../clock";
import { ApiError } from "./client";

/**
 * What is known of a thing on the controller. `data` is the last answer; when `error` is set as well,
 * it is that old, and the page must say so: a state that is shown is either true or marked as stale.
 */
export interface Known<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** When `data` was true, in milliseconds since 1970. */
  at: number | undefined;
}

const NOTHING: Known<never> = { data: undefined, error: undefined, at: undefined };

/** Asks again and again, never twice at once, slower while nobody answers. */
export class Poll<T> {
  private known: Known<T> = NOTHING;
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private asking = false;
  private askAgain = false;
  private failures = 0;

  constructor(
    private readonly load: () => Promise<T>,
    private readonly everyMillis = 2_000,
    private readonly now: () => number = controllerClock.now,
  ) {}

  snapshot = (): Known<T> => this.known;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  start(): void {
    if (this.running) return;
    this.running = true;
    void this.ask();
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
  }

  /** Ask now: something was changed. An answer that is under way may be older than the change, so ask after it. */
  refresh = (): void => {
    this.askAgain = this.asking;
    clearTimeout(this.timer);
    void this.ask();
  };

  private async ask(): Promise<void> {
    if (this.asking || !this.running) return;
    this.asking = true;
    try {
      const data = await this.load();
      this.failures = 0;
      this.tell({ data, error: undefined, at: this.now() });
    } catch (error) {
      this.failures += 1;
      const known = error instanceof ApiError ? error : new ApiError(0, "unexpected answer", String(error));
      this.tell({ ...this.known, error: known });
    } finally {
      this.asking = false;
      if (this.running) this.timer = setTimeout(() => void this.ask(), this.askAgain ? 0 : this.pause());
      this.askAgain = false;
    }
  }

  private pause(): number {
    return Math.min(this.everyMillis * 2 ** Math.min(this.failures, 4), 30_000);
  }

  private tell(known: Known<T>): void {
    if (!this.running) return;
    this.known = known;
    for (const listener of this.listeners) listener();
  }
}

/** Polls for as long as the component is there. `key` names the thing: another key, another thing. */
export function usePoll<T>(key: string, load: () => Promise<T>): Known<T> & { refresh: () => void } {
  const [held, setHeld] = useState(() => ({ key, poll: new Poll(load) }));
  let current = held;
  if (held.key !== key) {
    current = { key, poll: new Poll(load) };
    setHeld(current);
  }
  const { poll } = current;
  useEffect(() => {
    poll.start();
    // A browser slows the timers of a page in the background; who comes back to it wants the present.
    const seen = () => document.visibilityState === "visible" && poll.refresh();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      poll.stop();
    };
  }, [poll]);
  const known = useSyncExternalStore(poll.subscribe, poll.snapshot);
  return { ...known, refresh: poll.refresh };
}
