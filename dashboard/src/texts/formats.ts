import { i18n, text } from "./index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

function startOfDay(time: Date): number {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
}

/** A short time for lists: the hour today, the weekday this week, else the date. */
export function shortTime(iso: string | null, now: Date): string {
  if (!iso) return "";
  const time = new Date(iso);
  const days = Math.round((startOfDay(now) - startOfDay(time)) / DAY_MS);
  if (days === 0) return i18n.date(time, { hour: "2-digit", minute: "2-digit" });
  if (days > 0 && days < 7) return i18n.date(time, { weekday: "short" });
  return i18n.date(time, { day: "2-digit", month: "2-digit", year: "2-digit" });
}

/** The heading of a day in a thread. */
export function dayName(iso: string, now: Date): string {
  const time = new Date(iso);
  const days = Math.round((startOfDay(now) - startOfDay(time)) / DAY_MS);
  if (days === 0) return text("time.today");
  if (days === 1) return text("time.yesterday");
  return i18n.date(time, { day: "numeric", month: "long", year: "numeric" });
}

export function clockTime(iso: string): string {
  return i18n.date(new Date(iso), { hour: "2-digit", minute: "2-digit" });
}

export function fullTime(iso: string | null): string {
  return iso ? i18n.date(new Date(iso), { dateStyle: "medium", timeStyle: "short" }) : "";
}

/** An amount as the currency writes it; its smallest unit follows from the currency. */
export function money(amount: { minor_units: number; currency: string }): string {
  const format = new Intl.NumberFormat(i18n.locale, { style: "currency", currency: amount.currency || "BRL" });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(amount.minor_units / 10 ** digits);
}
