import { infiniteQueryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Invitation, Member } from "../../api/types.ts";

export const teamKeys = { members: ["members"] as const, invitations: ["invitations"] as const };

export const membersQuery = infiniteQueryOptions({
  queryKey: teamKeys.members,
  queryFn: async ({ pageParam, signal }): Promise<Page<Member>> => {
    const query = { page_token: pageParam || undefined };
    const answer = await taken<{ members: Member[]; next_page_token: string }>(
      api.GET("/api/v1/members", { params: { query }, signal }),
    );
    return { items: answer.members, nextPageToken: answer.next_page_token };
  },
  initialPageParam: "",
  getNextPageParam: (last) => last.nextPageToken || null,
});

export const invitationsQuery = infiniteQueryOptions({
  queryKey: teamKeys.invitations,
  queryFn: async ({ pageParam, signal }): Promise<Page<Invitation>> => {
    const query = { page_token: pageParam || undefined };
    const answer = await taken<{ invitations: Invitation[]; next_page_token: string }>(
      api.GET("/api/v1/invitations", { params: { query }, signal }),
    );
    return { items: answer.invitations, nextPageToken: answer.next_page_token };
  },
  initialPageParam: "",
  getNextPageParam: (last) => last.nextPageToken || null,
});
