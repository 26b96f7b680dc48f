import { useSyncExternalStore } from "react";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEPT_AS = "prosa.theme";
const listeners = new Set<() => void>();

function keptTheme(): Theme {
  return THEMES.find((theme) => theme === localStorage.getItem(KEPT_AS)) ?? "system";
}

/** Shows the person's choice; the system's own needs no mark. */
export function applyTheme(theme: Theme = keptTheme()): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function setTheme(theme: Theme): void {
  localStorage.setItem(KEPT_AS, theme);
  applyTheme(theme);
  for (const changed of listeners) changed();
}

export function useTheme(): Theme {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, keptTheme);
}
