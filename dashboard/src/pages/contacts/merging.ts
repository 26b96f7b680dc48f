import { infiniteQueryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { ContactMerge } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { notify } from "../../ui/notices.tsx";
import { refetchContacts } from "./following.ts";

export function mergesQuery(contactId: string) {
  return infiniteQueryOptions({
    queryKey: ["contact-merges", contactId],
    queryFn: async ({ pageParam, signal }): Promise<Page<ContactMerge>> => {
      const query = { contact_id: contactId, page_token: pageParam || undefined };
      const answer = await taken<{ contact_merges: ContactMerge[]; next_page_token: string }>(
        api.GET("/api/v1/contact-merges", { params: { query }, signal }),
      );
      return { items: answer.contact_merges, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}

/** Makes one contact of two; everything of the other leads to the survivor from then on. */
export function useMerge() {
  const client = useQueryClient();
  const undo = useUndoMerges();
  return useMutation({
    mutationFn: ({ survivor, loser, etag }: { survivor: string; loser: string; etag: string }) => {
      const requestId = newRequestId();
      return withStepUp(() =>
        taken<ContactMerge>(
          api.POST("/api/v1/contacts/{contact_id}:merge", {
            params: { path: { contact_id: survivor } },
            body: { losing_contact_id: loser, etag, request_id: requestId },
          }),
        ),
      );
    },
    onSuccess: (merge) => {
      refetchContacts(client);
      notify(text("task.merged"), {
        action: { label: text("action.undo"), run: () => undo.mutate([merge.contact_merge_id]) },
      });
    },
  });
}

/** Takes merges back in the order given: the last one first. */
export function useUndoMerges() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (mergeIds: string[]) => {
      for (const mergeId of mergeIds) {
        const requestId = newRequestId();
        await withStepUp(() =>
          taken<ContactMerge>(
            api.POST("/api/v1/contact-merges/{contact_merge_id}:undo", {
              params: { path: { contact_merge_id: mergeId } },
              body: { request_id: requestId },
            }),
          ),
        );
      }
    },
    onSuccess: () => notify(text("merge.undone")),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
    // A merge touches every list that names a contact.
    onSettled: () => refetchContacts(client),
  });
}
