import { readFileSync } from "node:fs";
import { compileMessage } from "@lingui/message-utils/compileMessage";
import { expect, test } from "vitest";
import { preferredLanguage, reasonText, setLanguage, text } from "./index.ts";

function messages(language: string): Record<string, string> {
  return JSON.parse(readFileSync(`src/texts/${language}.json`, "utf-8")) as Record<string, string>;
}

/** The names of a message's values, with what each is written as. */
function values(message: string): string[] {
  const tokens = compileMessage(message);
  const named = (Array.isArray(tokens) ? tokens : []).filter((token) => Array.isArray(token));
  return named.map(([name, kind]) => `${name} ${kind ?? "text"}`).toSorted();
}

test("both languages have the same texts, sorted, with the same values", () => {
  const [english, portuguese] = [messages("en"), messages("pt-BR")];
  expect(Object.keys(portuguese)).toEqual(Object.keys(english));
  expect(Object.keys(english)).toEqual(Object.keys(english).toSorted());
  for (const [key, message] of Object.entries(english)) {
    expect({ key, values: values(portuguese[key] ?? "") }).toEqual({ key, values: values(message) });
    expect({ key, empty: message.trim() === "" }).toEqual({ key, empty: false });
  }
});

test("plurals follow the language", async () => {
  await setLanguage("pt-BR", false);
  expect(text("board.count", { count: 1 })).toBe("1 negócio");
  expect(text("board.count", { count: 1234 })).toBe("1.234 negócios");
  await setLanguage("en", false);
  expect(text("board.count", { count: 1234 })).toBe("1,234 deals");
});

test("a reason without words of our own is left to the server's sentence", () => {
  expect(reasonText("CREDENTIALS_INVALID")).toBe("E-mail or password is wrong.");
  expect(reasonText("SOMETHING_NEW")).toBeUndefined();
});

test.each([
  [null, ["de-DE"], "pt-BR"],
  [null, ["en-GB", "pt-BR"], "en"],
  ["pt-BR", ["en-GB"], "pt-BR"],
  ["xx", ["pt-PT"], "pt-BR"],
])("kept %s and asked %s shows %s", (kept, asked, shown) => {
  expect(preferredLanguage(kept, asked)).toBe(shown);
});
