import { QueryClient } from "@tanstack/react-query";
import { beforeEach, expect, test } from "vitest";
import { itemsOf, type Paged } from "../../api/pages.ts";
import type { Conversation, Message } from "../../api/types.ts";
import { applyConversationFact } from "./facts.ts";
import { conversationKeys } from "./queries.ts";

let client: QueryClient;
beforeEach(() => {
  client = new QueryClient();
});

function conversation(id: string, minute: number, more: Partial<Conversation> = {}): Conversation {
  return {
    conversation_id: id,
    state: "OPEN",
    contact_id: "c",
    unread_count: 0,
    last_message_time: `2026-11-29T10:${String(minute).padStart(2, "0")}:00Z`,
    last_message_preview: "",
    ...more,
  } as Conversation;
}

function message(id: string, minute: number, more: Partial<Message> = {}): Message {
  return {
    message_id: id,
    conversation_id: "a",
    text: id,
    direction: "INBOUND",
    reactions: [],
    create_time: `2026-11-29T10:${String(minute).padStart(2, "0")}:00Z`,
    ...more,
  } as Message;
}

function put(key: readonly unknown[], items: unknown[], nextPageToken = ""): void {
  client.setQueryData<Paged<unknown>>(key, { pages: [{ items, nextPageToken }], pageParams: [""] });
}

function shown<T>(key: readonly unknown[]): T[] {
  return itemsOf(client.getQueryData<Paged<T>>(key));
}

function tell(name: string, data: object): void {
  const fact = { type: `prosa.conversation.v1.${name}`, position: 1, data: data as Record<string, unknown> };
  expect(applyConversationFact(client, fact)).toBe(true);
}

test("a message raises its conversation to the top and is counted", () => {
  put(conversationKeys.list({}), [conversation("b", 2), conversation("a", 1)]);
  tell("MessageReceived", { conversation_id: "a", message: message("new", 3) });
  const [first, second] = shown<Conversation>(conversationKeys.list({}));
  expect(first).toMatchObject({ conversation_id: "a", last_message_preview: "new", unread_count: 1 });
  expect(second?.conversation_id).toBe("b");
});

test("a message that the list knows already is not counted once more", () => {
  put(conversationKeys.list({}), [conversation("a", 3, { unread_count: 2, last_message_preview: "Oi, tudo bem?" })]);
  tell("MessageReceived", { conversation_id: "a", message: message("new", 3, { text: "Oi,\n tudo bem? " }) });
  tell("MessageReceived", { conversation_id: "a", message: message("next", 3, { text: "Tem vaga?" }) });
  const [shownNow] = shown<Conversation>(conversationKeys.list({}));
  expect(shownNow).toMatchObject({ unread_count: 3, last_message_preview: "Tem vaga?" });
});

test("the last conversation that was fetched is not lost when it moves and stays the last", () => {
  put(conversationKeys.list({}), [conversation("b", 5), conversation("a", 1)], "more");
  tell("MessageReceived", { conversation_id: "a", message: message("new", 2) });
  expect(shown<Conversation>(conversationKeys.list({})).map((item) => item.conversation_id)).toEqual(["b", "a"]);
});

test("a conversation that begins while others write stands where its time belongs", () => {
  put(conversationKeys.list({}), [conversation("b", 5), conversation("a", 1)], "more");
  tell("ConversationCreated", { conversation: conversation("c", 3) });
  tell("ConversationCreated", { conversation: conversation("old", 0) });
  tell("MessageReceived", { conversation_id: "a", message: message("new", 4) });
  expect(shown<Conversation>(conversationKeys.list({})).map((item) => item.conversation_id)).toEqual(["b", "a", "c"]);
});

test("a conversation that no longer fits a filter leaves that list, and joins the one that it fits", () => {
  put(conversationKeys.list({ state: "OPEN" }), [conversation("a", 1)]);
  put(conversationKeys.list({ state: "RESOLVED" }), []);
  tell("ConversationUpdated", { conversation: conversation("a", 1, { state: "RESOLVED" }) });
  expect(shown(conversationKeys.list({ state: "OPEN" }))).toEqual([]);
  expect(shown(conversationKeys.list({ state: "RESOLVED" }))).toHaveLength(1);
});

test("a message told twice stands once, and a late one where its time belongs", () => {
  put(conversationKeys.messages("a"), [message("3", 3), message("1", 1)]);
  tell("MessageReceived", { conversation_id: "a", message: message("4", 4) });
  tell("MessageReceived", { conversation_id: "a", message: message("4", 4) });
  tell("MessageSent", { conversation_id: "a", message: message("2", 2) });
  expect(shown<Message>(conversationKeys.messages("a")).map((item) => item.message_id)).toEqual(["4", "3", "2", "1"]);
});

test("what is older than all that was fetched waits for its page", () => {
  put(conversationKeys.messages("a"), [message("3", 3)], "more");
  tell("MessageReceived", { conversation_id: "a", message: message("0", 0) });
  expect(shown(conversationKeys.messages("a"))).toHaveLength(1);
});

test("a message that is read keeps its reactions, and a reaction is given, changed and taken back", () => {
  put(conversationKeys.messages("a"), [message("1", 1)]);
  const reaction = { author: "CONTACT", author_name: "Ana", text: "👍", removed: false };
  tell("MessageReactionChanged", { conversation_id: "a", message_id: "1", reaction });
  tell("MessageUpdated", { message: message("1", 1, { state: "READ" }) });
  expect(shown<Message>(conversationKeys.messages("a"))[0]).toMatchObject({ state: "READ", reactions: [reaction] });
  tell("MessageReactionChanged", { conversation_id: "a", message_id: "1", reaction: { ...reaction, removed: true } });
  expect(shown<Message>(conversationKeys.messages("a"))[0]?.reactions).toEqual([]);
});

test("who answers changes at once", () => {
  put(conversationKeys.list({}), [conversation("a", 1)]);
  tell("HandoffChanged", { conversation_id: "a", handoff: { mode: "HUMAN" } });
  expect(shown<Conversation>(conversationKeys.list({}))[0]?.handoff?.mode).toBe("HUMAN");
});

test("what is accepted to be sent stands in the thread and at the top, and keeps its delivery whatever is told of it", () => {
  put(conversationKeys.list({}), [conversation("b", 2), conversation("a", 1)]);
  put(conversationKeys.messages("a"), [message("1", 1)]);
  const delivery = { send_class: "PERSON", actor: { principal: "user:bia", name: "Bia" } } as Message["delivery"];
  const queued = message("2", 3, { direction: "OUTBOUND", state: "QUEUED", delivery });
  tell("MessageQueued", { conversation_id: "a", message: queued });
  expect(shown<Conversation>(conversationKeys.list({}))[0]).toMatchObject({ conversation_id: "a", last_message_preview: "2" });
  tell("MessageSent", { conversation_id: "a", message: { ...queued, state: "SENT" } });
  tell("MessageUpdated", { message: { ...queued, state: "DELIVERED", delivery: null } });
  const messages = shown<Message>(conversationKeys.messages("a"));
  expect(messages.map(({ message_id, state }) => [message_id, state])).toEqual([["2", "DELIVERED"], ["1", undefined]]);
  expect(messages[0]?.delivery).toEqual(delivery);
});

test("a connection that has changed is asked for again", () => {
  client.setQueryData([...conversationKeys.connections, "x"], { access_token_set: false });
  const fact = { type: "prosa.ingest.v1.ConnectionUpdated", position: 1, data: { connection_id: "x" } };
  expect(applyConversationFact(client, fact)).toBe(true);
  expect(client.getQueryState([...conversationKeys.connections, "x"])?.isInvalidated).toBe(true);
});

test("a fact, which does not tell whether a conversation is with an own number, leaves that as it was answered", () => {
  put(conversationKeys.list({}), [conversation("a", 2, { internal: true }), conversation("b", 1, { internal: false })]);
  for (const id of ["a", "b"]) {
    const told = conversation(id, 3, { internal: false, state: "RESOLVED" });
    applyConversationFact(client, {
      type: "prosa.conversation.v1.ConversationUpdated",
      data: { conversation: told },
    } as unknown as Parameters<typeof applyConversationFact>[1]);
  }
  const shown = itemsOf(client.getQueryData<Paged<Conversation>>(conversationKeys.list({})));
  expect(Object.fromEntries(shown.map((one) => [one.conversation_id, [one.internal, one.state]]))).toEqual({
    a: [true, "RESOLVED"],
    b: [false, "RESOLVED"],
  });
});
