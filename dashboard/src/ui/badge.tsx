import type { ReactNode } from "react";
import { classes } from "./classes.ts";

const TONES = {
  plain: "border-line text-soft",
  good: "border-good text-good",
  warn: "border-warn text-warn",
  bad: "border-bad text-bad",
} as const;
export type Tone = keyof typeof TONES;

export function Badge({ tone = "plain", children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className={classes("inline-flex items-center gap-1 rounded-full border px-2 text-xs", TONES[tone])}>
      {children}
    </span>
  );
}
