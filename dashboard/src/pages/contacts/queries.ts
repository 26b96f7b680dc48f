import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Contact, Deal } from "../../api/types.ts";

export const PAGE_SIZE = 50;

export interface ContactFilter {
  name?: string;
  phone?: string;
}

export const contactKeys = {
  lists: ["contacts"] as const,
  list: (filter: ContactFilter) => ["contacts", filter] as const,
  one: (contactId: string) => ["contact", contactId] as const,
  deals: (contactId: string) => ["deals", { contact_id: contactId }] as const,
};

/** What somebody typed into the search: a phone in any form, or letters of a name. */
export function filterOf(typed: string): ContactFilter {
  const trimmed = typed.trim();
  if (!trimmed) return {};
  return /^[+()\d\s.-]{8,}$/.test(trimmed) ? { phone: trimmed } : { name: trimmed };
}

export function contactsQuery(filter: ContactFilter) {
  return infiniteQueryOptions({
    queryKey: contactKeys.list(filter),
    queryFn: async ({ pageParam, signal }): Promise<Page<Contact>> => {
      const query = { ...filter, page_size: PAGE_SIZE, page_token: pageParam || undefined };
      const answer = await taken<{ contacts: Contact[]; next_page_token: string }>(
        api.GET("/api/v1/contacts", { params: { query }, signal }),
      );
      return { items: answer.contacts, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}

export function contactQuery(contactId: string) {
  return queryOptions({
    queryKey: contactKeys.one(contactId),
    queryFn: ({ signal }) =>
      taken<Contact>(api.GET("/api/v1/contacts/{contact_id}", { params: { path: { contact_id: contactId } }, signal })),
  });
}

export function contactDealsQuery(contactId: string) {
  return queryOptions({
    queryKey: contactKeys.deals(contactId),
    queryFn: async ({ signal }) => {
      const query = { contact_id: contactId, page_size: PAGE_SIZE };
      const answer = await taken<{ deals: Deal[] }>(api.GET("/api/v1/deals", { params: { query }, signal }));
      return answer.deals;
    },
  });
}
