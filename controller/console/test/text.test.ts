import { describe, expect, it } from "vitest";
import { commandLine, fileName, MAX_TEXT, reveal, revealed } from "../src/text";

describe("reveal", () => {
  it("leaves honest text in any script alone", () => {
    for (const text of ["bash -c 'id'", "主机 ep1：恶意", "Привет, мир", "Việt Nam", "日本語のファイル", "😀", "a\u00a0b"]) {
      expect(reveal(text)).toEqual([{ text, spelled: false }]);
    }
    expect(reveal("")).toEqual([]);
  });

  it.each([
    ["an escape sequence", "\u001b[2Jx", "\\x1b[2Jx"],
    ["a bell and a title", "\u001b]0;owned\u0007", "\\x1b]0;owned\\x07"],
    ["a nul", "a\u0000b", "a\\x00b"],
    ["delete and C1 controls", "\u007f\u009b", "\\x7fU+009B"],
    ["a right-to-left override", "\u202egpj.sh", "U+202Egpj.sh"],
    ["isolates", "\u2066a\u2069", "U+2066aU+2069"],
    ["zero width space and joiners", "/x/\u200bsshd\u200d", "/x/U+200BsshdU+200D"],
    ["soft hyphen, word joiner, byte order mark", "\u00ad\u2060\ufeff", "U+00ADU+2060U+FEFF"],
    ["blank letters", "\u3164\u2800", "U+3164U+2800"],
    ["tags", "a\u{e0061}", "aU+E0061"],
    ["a lone surrogate", "\ud83dx", "U+D83Dx"],
    ["line breaks", "one\r\ntwo", "one\\r\\ntwo"],
    ["line and paragraph separators", "\u2028\u2029", "U+2028U+2029"],
  ])("spells %s", (_, hostile, shown) => expect(revealed(hostile)).toBe(shown));

  it("marks what is spelled, and only that", () => {
    expect(reveal("a\u202eb")).toEqual([
      { text: "a", spelled: false },
      { text: "U+202E", spelled: true },
      { text: "b", spelled: false },
    ]);
  });

  it("keeps newlines only where lines are wanted", () => {
    expect(reveal("a\nb", true)).toEqual([{ text: "a\nb", spelled: false }]);
    expect(revealed("a\nb")).toBe("a\\nb");
    expect(reveal("a\rb", true).some((piece) => piece.spelled)).toBe(true);
  });

  it("does not let marks pile up", () => {
    const tower = `a${"\u0301".repeat(50)}`;
    expect(reveal(tower).filter((piece) => piece.spelled)).toHaveLength(47);
  });

  it("cuts what is endless, and shows that it did", () => {
    const pieces = reveal("A".repeat(MAX_TEXT * 10));
    expect(pieces.at(-1)).toEqual({ text: "…", spelled: true });
    expect(pieces[0]!.text).toHaveLength(MAX_TEXT);
    expect(reveal("A".repeat(MAX_TEXT))).toHaveLength(1);
  });
});

describe("commandLine", () => {
  it.each<[string[], string]>([
    [[], ""],
    [["ls", "-la", "/tmp"], "ls -la /tmp"],
    [["sh", "-c", "a b"], "sh -c 'a b'"],
    [["sh", "-c", "a", "b"], "sh -c a b"],
    [["echo", "", "it's"], "echo '' \"it's\""],
    [["echo", "it's $HOME"], "echo 'it'\\''s $HOME'"],
    [["echo", "$(id)", "主机"], "echo '$(id)' 主机"],
  ])("writes %j as %s", (argv, text) => expect(commandLine(argv)).toBe(text));
});

it("fileName is the last part", () => {
  expect(fileName("/usr/bin/bash")).toBe("bash");
  expect(fileName("bash")).toBe("bash");
  expect(fileName("/tmp/")).toBe("/tmp/");
  expect(fileName("")).toBe("");
});
