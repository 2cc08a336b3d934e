/**
 * Endpoint text is hostile. React never parses it as HTML; what is left is text that lies to the eye:
 * controls, bidirectional overrides, zero-width characters. They are spelled out and set apart.
 */
export interface Piece {
  text: string;
  /** The piece stands for a character that would not be seen. */
  spelled: boolean;
}

/** Longest text that is shown, in characters. */
export const MAX_TEXT = 4_000;
/** The same in a row of a table. */
export const MAX_IN_ROW = 300;

const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;
const MARK = /\p{M}/u;
/** Marks pile up on one letter and spill over neighbouring lines; no honest word needs more. */
const MAX_STACKED_MARKS = 3;

/**
 * Splits text into what can be shown as it is and what must be spelled. Newlines stay in `multiline` text.
 * After `limit` characters comes an ellipsis.
 */
export function reveal(text: string, multiline = false, limit = MAX_TEXT): Piece[] {
  const pieces: Piece[] = [];
  const push = (piece: string, spelled: boolean) => {
    const last = pieces.at(-1);
    if (last && !spelled && !last.spelled) last.text += piece;
    else pieces.push({ text: piece, spelled });
  };
  let shown = 0;
  let stacked = 0;
  for (const character of text) {
    if (shown >= limit) {
      push("…", true);
      break;
    }
    shown += 1;
    stacked = MARK.test(character) ? stacked + 1 : 0;
    const unseen = UNSEEN.test(character) || stacked > MAX_STACKED_MARKS;
    if (unseen && !(multiline && character === "\n")) push(spell(character), true);
    else push(character, false);
  }
  return pieces;
}

const ESCAPES: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function spell(character: string): string {
  const code = character.codePointAt(0)!;
  const escaped = ESCAPES[character];
  if (escaped) return escaped;
  if (code <= 0x7f) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** The same as one string, for places that take no elements: titles and labels. */
export function revealed(text: string): string {
  return reveal(text)
    .map((piece) => piece.text)
    .join("");
}

const PLAIN_WORD = /^[\w@%+=:,./\-\p{L}\p{N}]+$/u;

/** Arguments as a shell would take them: `["sh", "-c", "a b"]` and `["sh", "-c", "a", "b"]` must not look alike. */
export function commandLine(argv: readonly string[]): string {
  return argv.map(quoted).join(" ");
}

function quoted(word: string): string {
  if (PLAIN_WORD.test(word)) return word;
  if (word.includes("'") && !/["$`\\!]/.test(word)) return `"${word}"`;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** The last part of a path. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}
