import { X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { text } from "../texts/index.ts";
import { Button } from "./button.tsx";

interface Notice {
  id: number;
  sentence: string;
  tone: "plain" | "bad";
  /** What undoes it, or cures it. */
  action?: { label: string; run: () => void } | undefined;
}

/** Long enough to read it, and to undo what was done by mistake. */
const SHOWN_MS = 12_000;
const NOTICES_MAX = 4;

let notices: readonly Notice[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function become(next: readonly Notice[]): void {
  notices = next;
  for (const changed of listeners) changed();
}

function drop(id: number): void {
  become(notices.filter((notice) => notice.id !== id));
}

/** Tells what has happened, to screen readers too. */
export function notify(sentence: string, more: { tone?: Notice["tone"]; action?: Notice["action"] | undefined } = {}): void {
  const notice: Notice = { id: nextId, sentence, tone: "plain", ...more };
  nextId += 1;
  become([...notices, notice].slice(-NOTICES_MAX));
  setTimeout(() => drop(notice.id), SHOWN_MS);
}

export function Notices() {
  const shown = useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => notices,
  );
  return (
    <output className="pointer-events-none fixed inset-x-3 bottom-16 z-20 flex flex-col items-center gap-2 md:bottom-4">
      {shown.map((notice) => (
        <div
          key={notice.id}
          className={`pointer-events-auto flex max-w-full items-center gap-3 rounded-xl border bg-card px-4 py-2 shadow-lg ${
            notice.tone === "bad" ? "border-bad" : "border-edge"
          }`}
        >
          <p className={notice.tone === "bad" ? "text-bad" : undefined}>{notice.sentence}</p>
          {notice.action ? (
            <Button
              onClick={() => {
                notice.action?.run();
                drop(notice.id);
              }}
            >
              {notice.action.label}
            </Button>
          ) : null}
          <button
            type="button"
            aria-label={text("action.dismiss")}
            className="rounded p-1 text-soft hover:bg-quiet"
            onClick={() => drop(notice.id)}
          >
            <X aria-hidden="true" className="size-4" />
          </button>
        </div>
      ))}
    </output>
  );
}
