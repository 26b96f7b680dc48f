import { QueryClient } from "@tanstack/react-query";
import { renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { itemsOf, type Paged } from "../../api/pages.ts";
import { setSession } from "../../api/session.ts";
import type { Message, Session } from "../../api/types.ts";
import { draftOf, keepDraft, takeDraft } from "./drafts.ts";
import { applyConversationFact } from "./facts.ts";
import { type Pending, usePending } from "./pending.ts";
import { conversationKeys } from "./queries.ts";
import { send, sendAgain, tryAgain } from "./sending.ts";

const ANA = "user:ana";

let client: QueryClient;
/** What the server answers, call by call; after the last nothing comes. */
let answers: (() => Response | Promise<Response>)[];
let asked: { text: string; request_id: string }[];

beforeEach(() => {
  vi.useFakeTimers();
  setSession({ user_id: "ana", role: "AGENT", csrf_token: "t" } as Session);
  client = new QueryClient();
  client.setQueryData<Paged<Message>>(conversationKeys.messages("c"), {
    pages: [{ items: [], nextPageToken: "" }],
    pageParams: [""],
  });
  [answers, asked] = [[], []];
  vi.stubGlobal("fetch", async (request: Request) => {
    asked.push((await request.json()) as (typeof asked)[number]);
    return answers.shift()?.() ?? new Promise(() => undefined);
  });
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function message(id: string, text: string, more: Partial<Message> = {}): Message {
  return {
    message_id: id,
    conversation_id: "c",
    text,
    direction: "OUTBOUND",
    state: "QUEUED",
    reactions: [],
    create_time: "2026-11-29T10:00:00Z",
    delivery: { send_class: "PERSON", actor: { principal: ANA, name: "Ana" } },
    ...more,
  } as Message;
}

function taken(id: string, text: string): () => Response {
  return () => Response.json(message(id, text));
}

function refused(status: number, reason: string): () => Response {
  return () => Response.json({ reason, detail: reason }, { status });
}

function broken(): Response {
  throw new TypeError("The network is away.");
}

function shown(): Message[] {
  return itemsOf(client.getQueryData<Paged<Message>>(conversationKeys.messages("c")));
}

function pending(): Pending[] {
  return renderHook(() => usePending("c")).result.current;
}

function tell(name: string, told: Message, again = false): void {
  const data = { conversation_id: "c", message: told } as unknown as Record<string, unknown>;
  applyConversationFact(client, { type: `prosa.conversation.v1.${name}`, position: 1, data }, again);
}

async function pass(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

test("what was sent is shown at once, and is the server's message once it answers", async () => {
  answers = [taken("m", "Oi")];
  send(client, "c", "Oi");
  expect(pending()).toMatchObject([{ text: "Oi", state: "ASKING" }]);
  await pass();
  expect(pending()).toEqual([]);
  expect(shown()).toMatchObject([{ message_id: "m", state: "QUEUED" }]);
});

test("of two clicks on a draft the second finds nothing to send", () => {
  keepDraft("c", " Oi ");
  keepDraft("d", "Outra");
  expect([takeDraft("c"), takeDraft("c"), draftOf("d")]).toEqual(["Oi", "", "Outra"]);
});

test("an answer that was lost is asked for again under the same id, and one message comes of it", async () => {
  answers = [broken, () => new Response("Bad gateway", { status: 502 }), taken("m", "Oi")];
  send(client, "c", "Oi");
  await pass(5_000);
  expect(asked).toHaveLength(3);
  expect(new Set(asked.map((call) => call.request_id)).size).toBe(1);
  expect(pending()).toEqual([]);
  expect(shown()).toHaveLength(1);
});

test("what never gets an answer says so, and is tried again by hand under the same id", async () => {
  answers = [broken, broken, broken, broken];
  send(client, "c", "Oi");
  await pass(20_000);
  const [unreached] = pending();
  expect(unreached?.state).toBe("UNREACHED");
  answers = [taken("m", "Oi")];
  tryAgain(client, unreached?.requestId ?? "");
  tryAgain(client, unreached?.requestId ?? "");
  await pass();
  expect(asked).toHaveLength(5);
  expect(new Set(asked.map((call) => call.request_id)).size).toBe(1);
  expect([pending(), shown().length]).toEqual([[], 1]);
});

test("the network's return ends the waiting", async () => {
  answers = [broken, taken("m", "Oi")];
  send(client, "c", "Oi");
  await pass();
  expect(asked).toHaveLength(1);
  window.dispatchEvent(new Event("online"));
  await pass();
  expect(shown()).toHaveLength(1);
});

test.each([
  [400, "SUPPRESSED"],
  [429, "CONVERSATION_QUEUE_FULL"],
  [503, "SENDING_KILLED"],
])("a refusal (%i %s) is shown, and asked for again only by hand", async (status, reason) => {
  answers = [refused(status, reason)];
  send(client, "c", "Oi");
  await pass(60_000);
  expect(asked).toHaveLength(1);
  expect(pending()).toMatchObject([{ state: "REFUSED", error: { reason } }]);
});

test("a fact that comes before the answer leaves one bubble, and the answer takes nothing back", async () => {
  const later = Promise.withResolvers<Response>();
  answers = [() => later.promise];
  send(client, "c", "Oi");
  await pass();
  tell("MessageQueued", message("m", "Oi"));
  expect([pending(), shown().length]).toEqual([[], 1]);
  tell("MessageSent", message("m", "Oi", { state: "SENT" }));
  later.resolve(Response.json(message("m", "Oi")));
  await pass();
  expect(shown()).toMatchObject([{ message_id: "m", state: "SENT" }]);
  expect(pending()).toEqual([]);
});

test.each([0, 60_000])("a message that only a fact shows, after %i ms, was taken though no answer came", async (after) => {
  answers = [broken, broken, broken, broken];
  send(client, "c", "Oi");
  await pass(after);
  tell("MessageQueued", message("m", "Oi"));
  await pass(60_000);
  expect([pending(), shown().length]).toEqual([[], 1]);
});

test("the same words of somebody else do not stand for mine", async () => {
  send(client, "c", "Oi");
  await pass();
  const other = message("m", "Oi");
  tell("MessageQueued", { ...other, delivery: { ...other.delivery, actor: { principal: "user:bia", name: "Bia" } } } as Message);
  expect([pending().length, shown().length]).toEqual([1, 1]);
});

test("of the same words sent twice each fact stands for one", async () => {
  send(client, "c", "Oi");
  send(client, "c", "Oi");
  await pass();
  tell("MessageQueued", message("m", "Oi"));
  tell("MessageQueued", message("m", "Oi"));
  expect([pending().length, shown().length]).toEqual([1, 1]);
  tell("MessageQueued", message("n", "Oi"));
  expect([pending().length, shown().length]).toEqual([0, 2]);
});

test("a fact that is applied again stands for nothing that was sent since", async () => {
  answers = [taken("m", "Oi")];
  send(client, "c", "Oi");
  await pass();
  send(client, "c", "Oi");
  tell("MessageQueued", message("m", "Oi"), true);
  expect([pending().length, shown().length]).toEqual([1, 1]);
});

test("what failed is sent again under its own id, whoever asks and however often", async () => {
  const failed = message("0198c0de-7a11-7cc3-98c4-dc0c0c07398f", "Oi", { state: "FAILED" });
  answers = [taken("m", "Oi")];
  sendAgain(client, failed);
  sendAgain(client, failed);
  await pass();
  expect(asked).toEqual([{ text: "Oi", request_id: failed.message_id }]);
});

test("nothing of one person is left for the next", async () => {
  keepDraft("c", "Rascunho");
  answers = [broken, taken("m", "Oi")];
  send(client, "c", "Oi");
  await pass();
  setSession(null);
  await pass(60_000);
  expect([pending(), draftOf("c"), asked.length, shown()]).toEqual([[], "", 1, []]);
});

test("an answer that comes after the person has gone shows nothing", async () => {
  const later = Promise.withResolvers<Response>();
  answers = [() => later.promise];
  send(client, "c", "Oi");
  await pass();
  setSession(null);
  later.resolve(Response.json(message("m", "Oi")));
  await pass();
  expect(shown()).toEqual([]);
});

test("of two equal texts the one that never arrived is not taken for the one that did", async () => {
  const later = Promise.withResolvers<Response>();
  answers = [broken, () => later.promise, broken, broken, broken];
  send(client, "c", "Oi");
  send(client, "c", "Oi");
  await pass();
  // The fact shows the second, and the first is the one that waits longest.
  tell("MessageQueued", message("m", "Oi"));
  later.resolve(Response.json(message("m", "Oi")));
  await pass(20_000);
  expect(pending()).toMatchObject([{ text: "Oi", state: "UNREACHED" }]);
  expect(shown()).toHaveLength(1);
});
