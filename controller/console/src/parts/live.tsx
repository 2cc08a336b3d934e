import { useEffect, useState, type ReactNode } from "react";
import type { ApiError } from "../api/client";
import type { Known } from "../api/poll";
import { controllerClock } from "../clock";
import { clock } from "../format";
import { useLanguage } from "../i18n";
import { revealed } from "../text";

/** Older than this, an answer is stale even when no question has failed yet: it may still hang. */
export const STALE_AFTER_MILLIS = 15_000;

/** Whether what is known may no longer be true. */
export function isStale(known: Known<unknown>, now: number): boolean {
  if (known.at === undefined) return false;
  return known.error !== undefined || now - known.at > STALE_AFTER_MILLIS;
}

/** `isStale`, told anew when it changes and not before: tables are not drawn again each second. */
function useStale(known: Known<unknown>): boolean {
  const [, tick] = useState(0);
  useEffect(() => {
    if (known.at === undefined || known.error) return;
    const left = known.at + STALE_AFTER_MILLIS - controllerClock.now();
    const timer = setTimeout(() => tick((n) => n + 1), Math.max(0, left) + 1);
    return () => clearTimeout(timer);
  }, [known.at, known.error]);
  return isStale(known, controllerClock.now());
}

/** What went wrong, in words that say what to do about it. */
export function useWhy(): (error: ApiError) => string {
  const { t } = useLanguage();
  return (error) => {
    if (error.status === 0) return error.detail ? revealed(error.detail) : t("error.noAnswer");
    if (error.status === 403) return t("error.forbidden");
    if (error.status === 404) return t("error.notFound");
    return t("error.http", { status: error.status, words: revealed(error.detail || error.title) });
  };
}

/** Shows what is known, and says when it may no longer be true: never silently as present. */
export function Live<T>({ known, children }: { known: Known<T>; children: (data: T) => ReactNode }) {
  const { t } = useLanguage();
  const why = useWhy();
  const stale = useStale(known);
  if (known.data === undefined) {
    return known.error ? (
      <p className="banner bad" role="alert">
        {t("live.never", { why: why(known.error) })}
      </p>
    ) : (
      <p className="quiet pad">{t("live.loading")}</p>
    );
  }
  return (
    <>
      {stale && (
        <p className="banner warn sticky" role="alert">
          {t("live.stale", { time: clock(known.at!), why: known.error ? why(known.error) : t("error.noAnswer") })}
        </p>
      )}
      <div className={stale ? "stale" : undefined} data-stale={stale}>
        {children(known.data)}
      </div>
    </>
  );
}

/** The small line beside a page's title. */
export function LiveMark({ known }: { known: Known<unknown> }) {
  const { t } = useLanguage();
  const stale = useStale(known);
  if (known.at === undefined || stale) return null;
  return <span className="live">{t("live.now", { time: clock(known.at) })}</span>;
}
