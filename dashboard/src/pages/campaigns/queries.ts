import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Campaign, Touch } from "../../api/types.ts";

export const campaignKeys = {
  list: ["campaigns"] as const,
  one: (campaignId: string) => ["campaign", campaignId] as const,
  touches: (campaignId: string) => ["touches", campaignId] as const,
};

export const campaignsQuery = infiniteQueryOptions({
  queryKey: campaignKeys.list,
  queryFn: async ({ pageParam, signal }): Promise<Page<Campaign>> => {
    const query = { page_token: pageParam || undefined };
    const answer = await taken<{ campaigns: Campaign[]; next_page_token: string }>(
      api.GET("/api/v1/campaigns", { params: { query }, signal }),
    );
    return { items: answer.campaigns, nextPageToken: answer.next_page_token };
  },
  initialPageParam: "",
  getNextPageParam: (last) => last.nextPageToken || null,
});

export function campaignQuery(campaignId: string) {
  return queryOptions({
    queryKey: campaignKeys.one(campaignId),
    queryFn: ({ signal }) =>
      taken<Campaign>(
        api.GET("/api/v1/campaigns/{campaign_id}", { params: { path: { campaign_id: campaignId } }, signal }),
      ),
  });
}

export function touchesQuery(campaignId: string) {
  return infiniteQueryOptions({
    queryKey: campaignKeys.touches(campaignId),
    queryFn: async ({ pageParam, signal }): Promise<Page<Touch>> => {
      const answer = await taken<{ touches: Touch[]; next_page_token: string }>(
        api.GET("/api/v1/campaigns/{campaign_id}/touches", {
          params: { path: { campaign_id: campaignId }, query: { page_token: pageParam || undefined } },
          signal,
        }),
      );
      return { items: answer.touches, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}
