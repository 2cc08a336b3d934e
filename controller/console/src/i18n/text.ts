/** One message of the catalogue: a string, or one string for each plural form that the language has. */
export type Message = string | Plural;

export interface Plural {
  one?: string;
  other: string;
}

export type Values = Record<string, string | number>;

const PLACEHOLDER = /\{(\w+)\}/g;

/** The message with its values filled in. `count` picks the plural form. */
export function fill(message: Message, values: Values, tag: string): string {
  return formOf(message, values, tag).replace(PLACEHOLDER, (whole, name: string) =>
    Object.hasOwn(values, name) ? String(values[name]) : whole,
  );
}

function formOf(message: Message, values: Values, tag: string): string {
  if (typeof message === "string") return message;
  const category = new Intl.PluralRules(tag).select(Number(values["count"]));
  return (category === "one" ? message.one : undefined) ?? message.other;
}

/** All forms of a message. */
export function formsOf(message: Message): string[] {
  return typeof message === "string" ? [message] : [message.one, message.other].filter((form) => form !== undefined);
}

/** The names that a form asks for, sorted. */
export function placeholders(form: string): string[] {
  return [...form.matchAll(PLACEHOLDER)].map((match) => match[1]!).sort();
}
