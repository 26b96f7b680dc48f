import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Connection, Conversation, ConversationState, Message } from "../../api/types.ts";

export const PAGE_SIZE = 50;

/** What the list can be narrowed to; it stands in the address. */
export interface ConversationFilter {
  state?: ConversationState;
  contact_id?: string;
}

export const conversationKeys = {
  lists: ["conversations"] as const,
  list: (filter: ConversationFilter) => ["conversations", filter] as const,
  one: (conversationId: string) => ["conversation", conversationId] as const,
  messages: (conversationId: string) => ["messages", conversationId] as const,
  connections: ["connection"] as const,
};

/** What a conversation is sent through. */
export function connectionQuery(connectionId: string) {
  return queryOptions({
    queryKey: [...conversationKeys.connections, connectionId],
    queryFn: ({ signal }) =>
      taken<Connection>(
        api.GET("/api/v1/connections/{connection_id}", { params: { path: { connection_id: connectionId } }, signal }),
      ),
  });
}

export function conversationsQuery(filter: ConversationFilter) {
  return infiniteQueryOptions({
    queryKey: conversationKeys.list(filter),
    queryFn: async ({ pageParam, signal }): Promise<Page<Conversation>> => {
      const query = { ...filter, page_size: PAGE_SIZE, page_token: pageParam || undefined };
      const answer = await taken<{ conversations: Conversation[]; next_page_token: string }>(
        api.GET("/api/v1/conversations", { params: { query }, signal }),
      );
      return { items: answer.conversations, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}

export function conversationQuery(conversationId: string) {
  return queryOptions({
    queryKey: conversationKeys.one(conversationId),
    queryFn: ({ signal }) =>
      taken<Conversation>(
        api.GET("/api/v1/conversations/{conversation_id}", {
          params: { path: { conversation_id: conversationId } },
          signal,
        }),
      ),
  });
}

/** A thread, newest first, as the API has it. */
export function messagesQuery(conversationId: string) {
  return infiniteQueryOptions({
    queryKey: conversationKeys.messages(conversationId),
    queryFn: async ({ pageParam, signal }): Promise<Page<Message>> => {
      const answer = await taken<{ messages: Message[]; next_page_token: string }>(
        api.GET("/api/v1/conversations/{conversation_id}/messages", {
          params: {
            path: { conversation_id: conversationId },
            query: { page_size: PAGE_SIZE, page_token: pageParam || undefined },
          },
          signal,
        }),
      );
      return { items: answer.messages, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}
