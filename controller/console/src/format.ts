/** Numbers and times, the same in every place. */

/**
 * Always UTC, in the very form that the analyst's texts, the agents' logs and `cordonctl` use, so that
 * times can be compared at a glance and searched for. The local time is one hover away.
 */
export function dateTime(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** The same with milliseconds, where the order of things within a second matters. */
export function preciseTime(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  return `${at.toISOString().slice(0, 23).replace("T", " ")} UTC`;
}

export function clock(millis: number): string {
  return `${new Date(millis).toISOString().slice(11, 19)} UTC`;
}

export function localTime(iso: string, tag: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  return new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "long" }).format(at);
}

/** Whole seconds as `1:02:03`, never below zero. */
export function countdown(seconds: number): string {
  const left = Math.max(0, Math.floor(seconds));
  const pad = (n: number) => n.toString().padStart(2, "0");
  const [h, m, s] = [Math.floor(left / 3600), Math.floor((left % 3600) / 60), left % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 ** 2) return `${(count / 1024).toFixed(1)} KiB`;
  if (count < 1024 ** 3) return `${(count / 1024 ** 2).toFixed(1)} MiB`;
  return `${(count / 1024 ** 3).toFixed(1)} GiB`;
}

export function micros(count: number): string {
  if (count < 1_000) return `${count} µs`;
  if (count < 1_000_000) return `${(count / 1_000).toFixed(1)} ms`;
  const seconds = count / 1_000_000;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : countdown(seconds);
}

export function whole(count: number): string {
  return count.toLocaleString("en");
}

/** How long ago, in the language's own words. */
export function ago(iso: string, now: number, tag: string): string {
  const seconds = Math.round((new Date(iso).getTime() - now) / 1000);
  if (Number.isNaN(seconds)) return "";
  const words = new Intl.RelativeTimeFormat(tag, { numeric: "auto" });
  const size = Math.abs(seconds);
  if (size < 60) return words.format(seconds, "second");
  if (size < 3_600) return words.format(Math.round(seconds / 60), "minute");
  if (size < 86_400) return words.format(Math.round(seconds / 3_600), "hour");
  return words.format(Math.round(seconds / 86_400), "day");
}
