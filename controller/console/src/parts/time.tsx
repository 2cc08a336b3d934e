import { useEffect, useState } from "react";
import { controllerClock } from "../clock";
import { ago, dateTime, localTime, preciseTime } from "../format";
import { tagOf, useLanguage } from "../i18n";

/** The controller's time, told anew each second. */
export function useNow(): number {
  const [now, setNow] = useState(controllerClock.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(controllerClock.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** A moment in UTC, with the reader's own time on hover. */
export function Time({ at, precise = false }: { at: string; precise?: boolean }) {
  const { language } = useLanguage();
  return (
    <time className="time" dateTime={at} title={localTime(at, tagOf(language))}>
      {precise ? preciseTime(at) : dateTime(at)}
    </time>
  );
}

/** How long ago, with the exact time on hover. */
export function Ago({ at }: { at: string }) {
  const { language } = useLanguage();
  const now = useNow();
  return (
    <time className="time" dateTime={at} title={dateTime(at)}>
      {ago(at, now, tagOf(language))}
    </time>
  );
}
