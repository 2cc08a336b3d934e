import { LANGUAGES, useLanguage } from "../i18n";

export function LanguageSwitch() {
  const { language, setLanguage, t } = useLanguage();
  return (
    <div className="switch" role="group" aria-label={t("nav.language")}>
      {LANGUAGES.map(({ code, name, tag }) => (
        <button key={code} type="button" lang={tag} aria-pressed={language === code} onClick={() => setLanguage(code)}>
          {name}
        </button>
      ))}
    </div>
  );
}
