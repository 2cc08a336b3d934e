import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { en, type Key } from "./en";
import { fill, type Message, type Values } from "./text";
import { zh } from "./zh";

export type { Key, Values };
export type Language = "en" | "zh";
export const LANGUAGES: { code: Language; name: string; tag: string }[] = [
  { code: "en", name: "English", tag: "en" },
  { code: "zh", name: "简体中文", tag: "zh-Hans" },
];

export const CATALOGUES: Record<Language, Record<Key, Message>> = { en, zh };
const STORED = "cordon.language";

export function tagOf(language: Language): string {
  return LANGUAGES.find(({ code }) => code === language)!.tag;
}

export function translate(language: Language, key: Key, values: Values = {}): string {
  return fill(CATALOGUES[language][key], values, tagOf(language));
}

/** A key made from a value that came over the wire, or the value itself when the catalogue lacks it. */
export function translateValue(language: Language, prefix: string, value: string): string {
  const key = `${prefix}.${value}`;
  return Object.hasOwn(en, key) ? translate(language, key as Key) : value;
}

export function preferred(stored: string | null, wanted: readonly string[]): Language {
  if (stored === "en" || stored === "zh") return stored;
  return wanted[0]?.toLowerCase().startsWith("zh") ? "zh" : "en";
}

interface Spoken {
  language: Language;
  setLanguage: (language: Language) => void;
  t: (key: Key, values?: Values) => string;
  /** For values of the wire: `tv("severity", "high")`. */
  tv: (prefix: string, value: string) => string;
}

const Context = createContext<Spoken | undefined>(undefined);

function readStored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null; // storage may be forbidden; the choice then lasts as long as the page
  }
}

/** `fixed` speaks that language whatever was chosen before. */
export function LanguageProvider({ children, fixed }: { children: ReactNode; fixed?: Language }) {
  const [language, setLanguage] = useState(() => fixed ?? preferred(readStored(), navigator.languages));
  useEffect(() => {
    document.documentElement.lang = tagOf(language);
    try {
      localStorage.setItem(STORED, language);
    } catch {
      // as above
    }
  }, [language]);
  const spoken = useMemo<Spoken>(
    () => ({
      language,
      setLanguage,
      t: (key, values) => translate(language, key, values),
      tv: (prefix, value) => translateValue(language, prefix, value),
    }),
    [language],
  );
  return <Context value={spoken}>{children}</Context>;
}

export function useLanguage(): Spoken {
  const spoken = useContext(Context);
  if (!spoken) throw new Error("useLanguage outside LanguageProvider");
  return spoken;
}
