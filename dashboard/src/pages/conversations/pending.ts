import { useSyncExternalStore } from "react";
import { onSessionChange, session } from "../../api/session.ts";
import type { Message } from "../../api/types.ts";

/** What a person has sent from here, until the server's answer shows it as a message. */
export interface Pending {
  /** Names the intent: however often it is asked for under it, one message comes of it. */
  requestId: string;
  conversationId: string;
  text: string;
  /** When the person sent it, in ISO 8601. */
  time: string;
  /** ASKING: under way. REFUSED: surely not taken. UNREACHED: no answer came, so it may have been taken. */
  state: "ASKING" | "REFUSED" | "UNREACHED";
  error?: unknown;
  /** The message that a fact showed before the answer came; while it is shown, this is not. */
  seenAs?: string;
}

let kept: readonly Pending[] = [];
const listeners = new Set<() => void>();

function become(next: readonly Pending[]): void {
  kept = next;
  for (const changed of listeners) changed();
}

export function pendingOf(requestId: string): Pending | undefined {
  return kept.find((pending) => pending.requestId === requestId);
}

export function addPending(pending: Pending): void {
  become([...kept, pending]);
}

export function changePending(requestId: string, change: Partial<Pending>): void {
  become(kept.map((pending) => (pending.requestId === requestId ? { ...pending, ...change } : pending)));
}

export function dropPending(requestId: string): void {
  become(kept.filter((pending) => pending.requestId !== requestId));
}

/** Takes note of a message that a fact has shown: where it is one of these, nobody sees it twice. */
export function seePending(message: Message): void {
  const own = `user:${session()?.user_id ?? ""}`;
  if (message.delivery?.actor?.principal !== own || kept.some((pending) => pending.seenAs === message.message_id)) return;
  const seen = kept.find(
    (pending) =>
      pending.state !== "REFUSED" &&
      !pending.seenAs &&
      pending.conversationId === message.conversation_id &&
      pending.text === message.text,
  );
  if (seen?.state === "UNREACHED") dropPending(seen.requestId);
  else if (seen) changePending(seen.requestId, { seenAs: message.message_id });
}

/** Takes back that a fact showed something else as a message: the server's answer says whose it is. */
export function unseePending(message: Message, requestId: string): void {
  const mistaken = kept.find((pending) => pending.seenAs === message.message_id && pending.requestId !== requestId);
  if (mistaken) changePending(mistaken.requestId, { seenAs: undefined });
}

/** What of a conversation is to be shown after its messages, oldest first. */
export function usePending(conversationId: string): Pending[] {
  const all = useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => kept,
  );
  return all.filter(
    (pending) => pending.conversationId === conversationId && !(pending.seenAs && pending.state === "ASKING"),
  );
}

// Nothing of one person is left for the next one at the same screen.
onSessionChange(() => {
  if (!session() && kept.length > 0) become([]);
});
