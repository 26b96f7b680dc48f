import type { Source } from "../api/types.ts";
import { text } from "../texts/index.ts";

const MARKS: Partial<Record<Source, { sign: string; label: "source.WHATSAPP" | "source.INSTAGRAM"; className: string }>> = {
  WHATSAPP: { sign: "W", label: "source.WHATSAPP", className: "border-good text-good" },
  INSTAGRAM: { sign: "I", label: "source.INSTAGRAM", className: "border-bad text-bad" },
};

/** The medium somebody writes on, as one sign. */
export function SourceMark({ source }: { source: Source }) {
  const mark = MARKS[source];
  if (!mark) return null;
  return (
    <span
      title={text(mark.label)}
      className={`grid size-5 shrink-0 place-items-center rounded-md border text-xs font-semibold ${mark.className}`}
    >
      <span aria-hidden="true">{mark.sign}</span>
      <span className="sr-only">{text(mark.label)}</span>
    </span>
  );
}
