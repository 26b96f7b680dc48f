import type { QueryClient } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import { CallFailed } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import type { Message } from "../../api/types.ts";
import { addTakenMessage } from "./facts.ts";
import { addPending, changePending, dropPending, type Pending, pendingOf, unseePending } from "./pending.ts";

/** How long to wait before what got no answer is asked for again, under the same id. */
const WAITS_MS = [1_000, 3_000, 10_000] as const;

/** Sends a text once: shown at once, asked for until there is an answer, and settled by it. */
export function send(client: QueryClient, conversationId: string, text: string, requestId = newRequestId()): void {
  if (pendingOf(requestId)) return;
  addPending({ requestId, conversationId, text, time: new Date().toISOString(), state: "ASKING" });
  void ask(client, requestId);
}

/**
 * Sends what did not arrive once more. Its id is the request's: whoever asks for it, and however often, one message
 * comes of it.
 */
export function sendAgain(client: QueryClient, message: Message): void {
  send(client, message.conversation_id, message.text, message.message_id);
}

/** Asks again for what was refused or got no answer; never for what is under way. */
export function tryAgain(client: QueryClient, requestId: string): void {
  const pending = pendingOf(requestId);
  if (!pending || pending.state === "ASKING") return;
  changePending(requestId, { state: "ASKING", error: undefined });
  void ask(client, requestId);
}

async function ask(client: QueryClient, requestId: string): Promise<void> {
  for (const wait of [...WAITS_MS, undefined]) {
    const pending = pendingOf(requestId);
    // Whoever was signed in then is not any more.
    if (!pending) return;
    try {
      const message = await post(pending);
      if (!pendingOf(requestId)) return;
      // Of two equal texts the fact may have shown the other one.
      unseePending(message, requestId);
      addTakenMessage(client, message);
      dropPending(requestId);
      return;
    } catch (error) {
      if (surelyRefused(error)) {
        changePending(requestId, { state: "REFUSED", error });
        return;
      }
      if (wait !== undefined) await rest(wait);
      // A fact has shown it meanwhile: it was taken, and only the answer is missing.
      else if (pendingOf(requestId)?.seenAs) dropPending(requestId);
      else changePending(requestId, { state: "UNREACHED", error });
    }
  }
}

function post({ conversationId, text, requestId }: Pending): Promise<Message> {
  return taken<Message>(
    api.POST("/api/v1/conversations/{conversation_id}/messages", {
      params: { path: { conversation_id: conversationId } },
      body: { text, request_id: requestId },
    }),
  );
}

/** Whether the answer says that nothing was taken; a broken connection or a proxy's 502 does not. */
export function surelyRefused(error: unknown): boolean {
  return error instanceof CallFailed && (error.status < 500 || error.reason === "SENDING_KILLED");
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      resolve();
    }
    // No need to wait once the machine has its network back.
    window.addEventListener("online", done);
  });
}
