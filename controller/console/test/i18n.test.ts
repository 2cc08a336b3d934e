import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { CATALOGUES, preferred, translate, translateValue, type Key } from "../src/i18n";
import { en } from "../src/i18n/en";
import { formsOf, placeholders } from "../src/i18n/text";

const KEYS = Object.keys(en) as Key[];
const { zh } = CATALOGUES;

/** Names that are the same in every language: products, units, interfaces. */
const NAMES = /Cordon|eBPF|CPU|SHA-256|Shell|UTC|\/[a-z/]+|cordon-(agent|controller)( \w+)?|cordonctl( \w+)*|\{\w+\}/g;

describe("catalogues", () => {
  it("have the same keys", () => expect(Object.keys(zh).sort()).toEqual([...KEYS].sort()));

  it("say something in every form", () => {
    expect(keysWhere((forms) => forms.some((form) => form.trim() === ""))).toEqual([]);
  });

  it("ask for the same values in both languages and all forms", () => {
    // The form for one may be a word: "The newest one."
    const values = (form: string) => placeholders(form).filter((name) => name !== "count");
    const differs = (key: Key) => {
      const forms = [...formsOf(en[key]), ...formsOf(zh[key])].map((form) => values(form).join());
      const others = [en[key], zh[key]].map((message) => placeholders(formsOf(message).at(-1)!).join());
      return new Set(forms).size > 1 || new Set(others).size > 1;
    };
    expect(KEYS.filter(differs)).toEqual([]);
  });

  it("has no English left in Chinese, and no Chinese in English", () => {
    expect(KEYS.filter((key) => formsOf(zh[key]).some((form) => /[A-Za-z]{2,}/.test(form.replace(NAMES, ""))))).toEqual([]);
    expect(KEYS.filter((key) => formsOf(en[key]).some((form) => /\p{Script=Han}/u.test(form)))).toEqual([]);
  });

  it("has plural forms wherever English counts", () => {
    const counted = KEYS.filter((key) => formsOf(en[key]).some((form) => /\{count\} [a-z]+s\b/.test(form)));
    expect(counted.filter((key) => typeof en[key] === "string")).toEqual([]);
  });

  it("has no key that the pages do not use", () => {
    const source = readSources(fileURLToPath(new URL("../src", import.meta.url)));
    const prefixes = [...source.matchAll(/tv\("([\w.]+)"/g)].map((match) => match[1]!);
    const templates = [...source.matchAll(/t\(`([\w.]+)\$\{/g)].map((match) => match[1]!);
    const unused = KEYS.filter(
      (key) =>
        !source.includes(`"${key}"`) &&
        !prefixes.some((prefix) => key.startsWith(`${prefix}.`)) &&
        !templates.some((start) => key.startsWith(start)),
    );
    expect(unused).toEqual([]);
  });
});

function keysWhere(test: (forms: string[]) => boolean): string[] {
  return KEYS.filter((key) => Object.values(CATALOGUES).some((catalogue) => test(formsOf(catalogue[key]))));
}

function readSources(folder: string): string {
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return readSources(path);
      return entry.name === "en.ts" || entry.name === "zh.ts" ? "" : readFileSync(path, "utf8");
    })
    .join("\n");
}

describe("translate", () => {
  it("picks the plural form of the language", () => {
    expect(translate("en", "fleet.total", { count: 1 })).toBe("1 host");
    expect(translate("en", "fleet.total", { count: 0 })).toBe("0 hosts");
    expect(translate("zh", "fleet.total", { count: 1 })).toBe("共 1 台");
  });

  it("puts values in as they are, without reading them for placeholders", () => {
    expect(translate("en", "order.by", { name: "{name}$&$1" })).toBe("by {name}$&$1");
  });

  it("leaves a placeholder without a value visible", () => {
    expect(translate("en", "order.by")).toBe("by {name}");
    expect(translate("en", "order.by", Object.create({ name: "inherited" }))).toBe("by {name}");
  });

  it("shows a value of the wire that has no word as it came", () => {
    expect(translateValue("zh", "severity", "high")).toBe("高");
    expect(translateValue("zh", "severity", "apocalyptic")).toBe("apocalyptic");
    expect(translateValue("en", "severity", "__proto__")).toBe("__proto__");
  });
});

describe("preferred", () => {
  it.each([
    ["zh", ["en"], "zh"],
    ["en", ["zh-CN"], "en"],
    [null, ["zh-CN", "en"], "zh"],
    [null, ["zh-Hans"], "zh"],
    [null, ["de", "zh"], "en"],
    ["klingon", [], "en"],
  ] as const)("of stored %j and wanted %j is %s", (stored, wanted, language) =>
    expect(preferred(stored, wanted)).toBe(language),
  );
});
