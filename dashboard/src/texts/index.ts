import { type Messages, setupI18n } from "@lingui/core";
import { useSyncExternalStore } from "react";
import type en from "./en.json";

/** Every text of the pages, by name; both languages have all of them, which a test sees to. */
export type TextKey = keyof typeof en;
export const LANGUAGES = ["pt-BR", "en"] as const;
export type Language = (typeof LANGUAGES)[number];
export type Values = Record<string, string | number | Date>;

const KEPT_AS = "prosa.language";
const load: Record<Language, () => Promise<{ default: unknown }>> = {
  "pt-BR": () => import("./pt-BR.json"),
  en: () => import("./en.json"),
};
export const i18n = setupI18n({ missing: (_, key) => key });

/** The person's own choice, else what the browser asks for, else Portuguese. */
export function preferredLanguage(kept = localStorage.getItem(KEPT_AS), asked = navigator.languages): Language {
  const chosen = LANGUAGES.find((language) => language === kept);
  if (chosen) return chosen;
  return asked[0]?.toLowerCase().startsWith("en") ? "en" : "pt-BR";
}

/** Shows everything in a language, from now on and in this browser. */
export async function setLanguage(language: Language, keep = true): Promise<void> {
  const { default: messages } = await load[language]();
  if (keep) localStorage.setItem(KEPT_AS, language);
  document.documentElement.lang = language;
  i18n.loadAndActivate({ locale: language, messages: messages as Messages });
}

export function text(key: TextKey, values?: Values): string {
  return i18n._(key, values);
}

/** Answers the text for a reason that the server gave, or undefined where we have no words of our own for it. */
export function reasonText(reason: string): string | undefined {
  const key = `reason.${reason}`;
  const found = i18n._(key);
  return found === key ? undefined : found;
}

/** Draws the component anew when the language changes. */
export function useLanguage(): Language {
  return useSyncExternalStore(
    (changed) => i18n.on("change", changed),
    () => i18n.locale as Language,
  );
}
