import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { changeItem, dropItem, insertItem, type Paged } from "../../api/pages.ts";
import type { Conversation, Message, Reaction } from "../../api/types.ts";
import { type ConversationFilter, conversationKeys } from "./queries.ts";

const PREVIEW_LENGTH = 200;

/** Brings what is shown of conversations to where a fact says they are; answers whether the fact was of that kind. */
export function applyConversationFact(client: QueryClient, fact: Fact): boolean {
  switch (fact.type.replace("prosa.conversation.v1.", "")) {
    case "ConversationCreated":
    case "ConversationUpdated":
      putConversation(client, (fact.data as unknown as { conversation: Conversation }).conversation);
      return true;
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
      patchConversation(client, conversation_id, (conversation) => ({ ...conversation, handoff }));
      return true;
    }
    default:
      return false;
  }
}

export function matches(filter: ConversationFilter, conversation: Conversation): boolean {
  return (
    (!filter.state || conversation.state === filter.state) &&
    (!filter.contact_id || conversation.contact_id === filter.contact_id)
  );
}

function putConversation(client: QueryClient, conversation: Conversation): void {
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

/** Keeps the newest activity first: what moved goes to its place, what only changed stays where it is. */
function place(paged: Paged<Conversation>, conversation: Conversation): Paged<Conversation> {
  const same = (other: Conversation): boolean => other.conversation_id === conversation.conversation_id;
  const time = conversation.last_message_time ?? "";
  const known = paged.pages.flatMap((page) => page.items).find(same);
  if (known && (known.last_message_time ?? "") >= time) return changeItem(paged, same, () => conversation);
  // Facts of conversations that write at the same moment come in any order.
  return insertItem(known ? dropItem(paged, same) : paged, conversation, (other) => (other.last_message_time ?? "") <= time);
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
    if (paged.pages.some((page) => page.items.some(same))) return changeItem(paged, same, () => message);
    return inOrder(paged, message);
  });
  patchConversation(client, conversation_id, (conversation) =>
    (conversation.last_message_time ?? "") > (message.create_time ?? "")
      ? conversation
      : {
          ...conversation,
          last_message_time: message.create_time,
          last_message_preview: message.text.slice(0, PREVIEW_LENGTH),
          last_message_direction: message.direction,
          // Until the provider tells how many are unread.
          unread_count: conversation.unread_count + (message.direction === "INBOUND" ? 1 : 0),
        },
  );
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
        // Only lists hold reactions; a fact about the message knows none.
        (known) => ({ ...message, reactions: known.reactions }),
      ),
  );
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
