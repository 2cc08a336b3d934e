import { useEffect, useRef } from "react";
import { useLanguage, type Key } from "./i18n";
import { AccountPage } from "./pages/account";
import { Events } from "./pages/events";
import { Fleet } from "./pages/fleet";
import { HostPage } from "./pages/host";
import { IncidentPage } from "./pages/incident";
import { Incidents } from "./pages/incidents";
import { SignIn } from "./pages/sign-in";
import { Hostile } from "./parts/hostile";
import { LanguageSwitch } from "./parts/language-switch";
import { Mark } from "./parts/mark";
import { link, useRoute, type Route } from "./route";
import { useSession } from "./session";

export function App() {
  const { who } = useSession();
  const { t } = useLanguage();
  switch (who.state) {
    case "asking":
      return <main className="splash">{t("live.loading")}</main>;
    case "nobody":
      return <SignIn />;
    case "unreachable":
      return <Unreachable />;
    case "known":
      return <Signed />;
  }
}

function Unreachable() {
  const { askAgain } = useSession();
  const { t } = useLanguage();
  return (
    <main className="splash">
      <p role="alert">{t("error.noAnswer")}</p>
      <button type="button" className="button" onClick={askAgain}>
        {t("error.retry")}
      </button>
    </main>
  );
}

function Signed() {
  const route = useRoute();
  const { t, language } = useLanguage();
  const main = useRef<HTMLElement>(null);
  const place = JSON.stringify(route);
  const first = useRef(true);
  // A new page takes the focus, as a page load would; the first one leaves it where the browser put it.
  useEffect(() => {
    if (!first.current) main.current?.focus();
    first.current = false;
    window.scrollTo(0, 0);
  }, [place]);
  useEffect(() => {
    document.title = `${t(titles[route.page])} · Cordon`;
  }, [route.page, t, language]);
  return (
    <>
      <a
        className="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t("nav.skip")}
      </a>
      <Bar route={route} />
      <main id="main" ref={main} tabIndex={-1} data-page={route.page}>
        {route.page !== "account" && <FirstPassword />}
        <Page route={route} />
      </main>
    </>
  );
}

const titles: Record<Route["page"], Key> = {
  fleet: "fleet.title",
  host: "host.host",
  incidents: "incidents.title",
  incident: "incidents.incident",
  events: "events.title",
  account: "account.title",
};

function Page({ route }: { route: Route }) {
  switch (route.page) {
    case "fleet":
      return <Fleet />;
    case "host":
      return <HostPage key={route.id} id={route.id} />;
    case "incidents":
      return <Incidents />;
    case "incident":
      return <IncidentPage key={route.id} id={route.id} />;
    case "events":
      return <Events host={route.host} />;
    case "account":
      return <AccountPage />;
  }
}

function Bar({ route }: { route: Route }) {
  const { t } = useLanguage();
  const tabs = [
    { href: link.fleet, label: t("nav.fleet"), here: route.page === "fleet" || route.page === "host" },
    { href: link.incidents, label: t("nav.incidents"), here: route.page === "incidents" || route.page === "incident" },
    { href: link.events(), label: t("nav.events"), here: route.page === "events" },
  ];
  return (
    <header className="bar">
      <a className="brand" href={link.fleet}>
        <Mark />
        <span>{t("app.name")}</span>
      </a>
      <nav aria-label={t("nav.main")}>
        {tabs.map((tab) => (
          <a key={tab.href} href={tab.href} aria-current={tab.here ? "page" : undefined}>
            {tab.label}
          </a>
        ))}
      </nav>
      <div className="bar-end">
        <LanguageSwitch />
        <Account />
      </div>
    </header>
  );
}

/** The first password was printed on a terminal. It does not bar the way: at three in the morning an incident comes first. */
function FirstPassword() {
  const { who } = useSession();
  const { t } = useLanguage();
  if (who.state !== "known" || !who.me.must_change_password) return null;
  return (
    <p className="banner warn" data-first-password>
      {t("account.first")} <a href={link.account}>{t("account.change")}</a>
    </p>
  );
}

function Account() {
  const { who, signOut } = useSession();
  const { t, tv } = useLanguage();
  if (who.state !== "known") return null;
  return (
    <>
      <span className="account">
        <a href={link.account}>
          <Hostile text={who.me.username} />
        </a>{" "}
        <span className="quiet">{tv("role", who.me.role)}</span>
      </span>
      <button type="button" className="button small" onClick={() => void signOut()}>
        {t("nav.signOut")}
      </button>
    </>
  );
}
