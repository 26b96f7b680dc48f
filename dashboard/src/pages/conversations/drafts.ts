import { useSyncExternalStore } from "react";
import { onSessionChange, session } from "../../api/session.ts";

/** What was typed and not sent, by conversation; in this page alone, for as long as somebody is signed in. */
const drafts = new Map<string, string>();
const listeners = new Set<() => void>();

export function draftOf(conversationId: string): string {
  return drafts.get(conversationId) ?? "";
}

export function keepDraft(conversationId: string, draft: string): void {
  if (draft) drafts.set(conversationId, draft);
  else drafts.delete(conversationId);
  for (const changed of listeners) changed();
}

/** Answers a draft and leaves none: of two clicks on “send” the second finds nothing to send. */
export function takeDraft(conversationId: string): string {
  const draft = draftOf(conversationId).trim();
  keepDraft(conversationId, "");
  return draft;
}

export function useDraft(conversationId: string): string {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => draftOf(conversationId),
  );
}

// Nothing of one person is left for the next one at the same screen.
onSessionChange(() => {
  if (!session()) drafts.clear();
});
