import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { changeItem, dropItem, insertItem, type Paged } from "../../api/pages.ts";
import type { Conversation, Message, Reaction } from "../../api/types.ts";
import { seePending } from "./pending.ts";
import { type ConversationFilter, conversationKeys } from "./queries.ts";

const PREVIEW_LENGTH = 160;

/** Brings what is shown of conversations to where a fact says they are; answers whether the fact was of that kind. */
export function applyConversationFact(client: QueryClient, fact: Fact, again = false): boolean {
  if (fact.type === "prosa.ingest.v1.ConnectionUpdated") {
    // Whether something can be sent through it may be another now.
    void client.invalidateQueries({ queryKey: conversationKeys.connections });
    return true;
  }
  switch (fact.type.replace("prosa.conversation.v1.", "")) {
    case "ConversationCreated":
    case "ConversationUpdated":
      putConversation(client, (fact.data as unknown as { conversation: Conversation }).conversation);
      return true;
    case "MessageQueued": {
      const queued = fact.data as unknown as { conversation_id: string; message: Message };
      if (!again) seePending(queued.message);
      addMessage(client, queued);
      return true;
    }
    case "MessageReceived":
    case "MessageSent":
      addMessage(client, fact.data as unknown as { conversation_id: string; message: Message });
      return true;
    case "MessageUpdated":
      changeMessage(client, (fact.data as unknown as { message: Message }).message);
      return true;
    case "MessageReactionChanged":
      react(client, fact.data as unknown as { conversation_id: string; message_id: string; reaction: Reaction });
      return true;
    case "HandoffChanged": {
      const { conversation_id, handoff } = fact.data as unknown as Pick<Conversation, "conversation_id" | "handoff">;
      putHandoff(client, conversation_id, handoff);
      return true;
    }
    default:
      return false;
  }
}

/** Shows who answers a conversation now. */
export function putHandoff(client: QueryClient, conversationId: string, handoff: Conversation["handoff"]): void {
  patchConversation(client, conversationId, (conversation) => ({ ...conversation, handoff }));
}

/** Shows a message that the server has just taken, unless a fact has told more of it already. */
export function addTakenMessage(client: QueryClient, message: Message): void {
  const paged = client.getQueryData<Paged<Message>>(conversationKeys.messages(message.conversation_id));
  if (paged?.pages.some((page) => page.items.some((other) => other.message_id === message.message_id))) return;
  addMessage(client, { conversation_id: message.conversation_id, message });
}

export function matches(filter: ConversationFilter, conversation: Conversation): boolean {
  return (
    (!filter.state || conversation.state === filter.state) &&
    (!filter.contact_id || conversation.contact_id === filter.contact_id)
  );
}

function putConversation(client: QueryClient, told: Conversation): void {
  // Whether it is with an own number is answered, and not told.
  const known = listed(client, told.conversation_id);
  const conversation = { ...told, internal: known?.internal ?? told.internal };
  const same = (other: Conversation): boolean => other.conversation_id === conversation.conversation_id;
  client.setQueryData<Conversation>(conversationKeys.one(conversation.conversation_id), (known) =>
    known ? conversation : undefined,
  );
  for (const query of client.getQueryCache().findAll({ queryKey: conversationKeys.lists })) {
    const filter = query.queryKey[1] as ConversationFilter;
    client.setQueryData<Paged<Conversation>>(query.queryKey, (paged) => {
      if (!paged) return paged;
      if (!matches(filter, conversation)) return dropItem(paged, same);
      return place(paged, conversation);
    });
  }
}

/** A conversation as it was answered, where it is shown. */
function listed(client: QueryClient, conversationId: string): Conversation | undefined {
  const one = client.getQueryData<Conversation>(conversationKeys.one(conversationId));
  const pages = client.getQueriesData<Paged<Conversation>>({ queryKey: conversationKeys.lists });
  const items = pages.flatMap(([, paged]) => paged?.pages.flatMap((page) => page.items) ?? []);
  return one ?? items.find((item) => item.conversation_id === conversationId);
}

/** Keeps the newest activity first: what moved goes to its place, what only changed stays where it is. */
function place(paged: Paged<Conversation>, conversation: Conversation): Paged<Conversation> {
  const same = (other: Conversation): boolean => other.conversation_id === conversation.conversation_id;
  const time = conversation.last_message_time ?? "";
  const known = paged.pages.flatMap((page) => page.items).find(same);
  if (known && (known.last_message_time ?? "") >= time) return changeItem(paged, same, () => conversation);
  // Facts of conversations that write at the same moment come in any order.
  const others = known ? dropItem(paged, same) : paged;
  const placed = insertItem(others, conversation, (other) => (other.last_message_time ?? "") <= time);
  // The last of what was fetched stays so while it is older than all the others.
  return known && placed === others ? changeItem(paged, same, () => conversation) : placed;
}

function patchConversation(
  client: QueryClient,
  conversationId: string,
  change: (conversation: Conversation) => Conversation,
): void {
  client.setQueryData<Conversation>(conversationKeys.one(conversationId), (known) => known && change(known));
  client.setQueriesData<Paged<Conversation>>({ queryKey: conversationKeys.lists }, (paged) => {
    const known = paged?.pages.flatMap((page) => page.items).find((item) => item.conversation_id === conversationId);
    return paged && known ? place(paged, change(known)) : paged;
  });
}

function addMessage(client: QueryClient, told: { conversation_id: string; message: Message }): void {
  const { conversation_id, message } = told;
  client.setQueryData<Paged<Message>>(conversationKeys.messages(conversation_id), (paged) => {
    const same = (other: Message): boolean => other.message_id === message.message_id;
    if (!paged) return paged;
    const change = changeItem(paged, same, (known) => changed(known, message));
    return change === paged ? inOrder(paged, message) : change;
  });
  const preview = message.text.split(/\s+/).filter(Boolean).join(" ").slice(0, PREVIEW_LENGTH);
  patchConversation(client, conversation_id, (conversation) =>
    (conversation.last_message_time ?? "") > (message.create_time ?? "") || isLast(conversation, message, preview)
      ? conversation
      : {
          ...conversation,
          last_message_time: message.create_time,
          last_message_preview: preview,
          last_message_direction: message.direction,
          // Until the provider tells how many are unread.
          unread_count: conversation.unread_count + (message.direction === "INBOUND" ? 1 : 0),
        },
  );
}

/** Whether a conversation shows the message as its last already: an answer that is newer than the fact does. */
function isLast(conversation: Conversation, message: Message, preview: string): boolean {
  return conversation.last_message_time === message.create_time && conversation.last_message_preview === preview;
}

/** Puts a message where its time belongs: what was told late must not stand last. */
function inOrder(paged: Paged<Message>, message: Message): Paged<Message> {
  const time = message.create_time ?? "";
  return insertItem(paged, message, (other) => (other.create_time ?? "") <= time);
}

function changeMessage(client: QueryClient, message: Message): void {
  client.setQueryData<Paged<Message>>(
    conversationKeys.messages(message.conversation_id),
    (paged) =>
      paged &&
      changeItem(
        paged,
        (other) => other.message_id === message.message_id,
        (known) => changed(known, message),
      ),
  );
}

/** A message as a fact tells it. Only lists hold reactions, and a provider's word on it may know no delivery. */
function changed(known: Message, told: Message): Message {
  return { ...told, reactions: known.reactions, delivery: told.delivery ?? known.delivery };
}

function react(
  client: QueryClient,
  told: { conversation_id: string; message_id: string; reaction: Reaction },
): void {
  const { reaction } = told;
  client.setQueryData<Paged<Message>>(
    conversationKeys.messages(told.conversation_id),
    (paged) =>
      paged &&
      changeItem(
        paged,
        (message) => message.message_id === told.message_id,
        (message) => {
          const others = message.reactions.filter(
            (other) => other.author !== reaction.author || other.author_name !== reaction.author_name,
          );
          return { ...message, reactions: reaction.removed ? others : [...others, reaction] };
        },
      ),
  );
}
