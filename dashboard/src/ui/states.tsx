import type { ReactNode } from "react";
import { CallFailed, sentence } from "../api/problems.ts";
import { text } from "../texts/index.ts";
import { Button } from "./button.tsx";
import { classes } from "./classes.ts";

/** Grey bars in the shape of what comes. */
export function Loading({ rows = 6, className }: { rows?: number; className?: string }) {
  return (
    <output className={classes("block p-4", className)}>
      <span className="sr-only">{text("state.loading")}</span>
      {Array.from({ length: rows }, (_, row) => (
        // oxlint-disable-next-line react/no-array-index-key -- bars have no identity
        <span key={row} className="mb-3 block h-12 animate-pulse rounded-lg bg-quiet" aria-hidden="true" />
      ))}
    </output>
  );
}

/** One sentence and, where there is one, the action that helps. */
export function Empty({ sentence, action }: { sentence: string; action?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-3 p-8 text-center text-soft">
      <p className="max-w-sm">{sentence}</p>
      {action}
    </div>
  );
}

/** What failed, in words, what can be done, and the id that support asks for. */
export function Failed({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  return (
    <div role="alert" className="flex flex-col items-center gap-3 p-8 text-center">
      <p className="max-w-sm text-bad">{sentence(error)}</p>
      {error instanceof CallFailed && error.correlationId ? (
        <p className="text-sm text-soft">{text("error.id", { id: error.correlationId })}</p>
      ) : null}
      {onRetry ? <Button onClick={onRetry}>{text("action.retry")}</Button> : null}
    </div>
  );
}
