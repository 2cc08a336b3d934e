import type { AnalystVerdict, Host, IsolationReport, Severity, VerdictKind } from "../api/types";
import { useLanguage } from "../i18n";

const LEVELS: Record<Severity, number> = { low: 1, medium: 2, high: 3, critical: 4 };

/** Severity by word, colour and the number of bars: none of them alone. */
export function SeverityBadge({ severity }: { severity: Severity }) {
  const { tv } = useLanguage();
  const level = LEVELS[severity] ?? 1;
  return (
    <span className={`badge severity-${severity}`}>
      <svg width="14" height="10" viewBox="0 0 14 10" aria-hidden="true" focusable="false">
        {[1, 2, 3, 4].map((n) => (
          <rect
            key={n}
            x={(n - 1) * 3.6}
            y={8 - n * 2}
            width="2.6"
            height={2 + n * 2}
            rx="0.6"
            fill="currentColor"
            opacity={n <= level ? 1 : 0.28}
          />
        ))}
      </svg>
      {tv("severity", severity)}
    </span>
  );
}

export function VerdictBadge({ verdict }: { verdict: VerdictKind }) {
  const { tv } = useLanguage();
  return <span className={`badge verdict-${verdict}`}>{tv("verdict", verdict)}</span>;
}

/** What a person called it, beside what the judge did. */
export function AnalystBadge({ said }: { said: AnalystVerdict }) {
  const { t, tv } = useLanguage();
  return <span className={`badge verdict-${said.label}`}>{t("analyst.badge", { label: tv("verdict", said.label) })}</span>;
}

export function isShut(report: IsolationReport | null): boolean {
  return report !== null && ["applied", "confirmed", "unproven"].includes(report.state);
}

export function IsolationBadge({ report }: { report: IsolationReport | null }) {
  const { tv } = useLanguage();
  const state = report?.state ?? "open";
  return (
    <span className={`badge isolation-${state}`} data-isolation={isShut(report) ? "isolated" : "open"}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" focusable="false">
        {isShut(report) ? (
          <>
            <rect x="1.5" y="5" width="9" height="6" rx="1.2" fill="currentColor" />
            <path d="M3.5 5V3.6a2.5 2.5 0 0 1 5 0V5" fill="none" stroke="currentColor" strokeWidth="1.5" />
          </>
        ) : (
          <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" strokeWidth="1.6" />
        )}
      </svg>
      {tv("isolation", state)}
    </span>
  );
}

export function OnlineBadge({ host }: { host: Host }) {
  const { t } = useLanguage();
  return (
    <span className={host.online ? "presence online" : "presence offline"}>
      {host.online ? t("host.online") : t("host.offline")}
    </span>
  );
}
