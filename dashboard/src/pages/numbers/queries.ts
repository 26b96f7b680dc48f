import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Instance, InstanceQr } from "../../api/types.ts";

export const numberKeys = {
  list: ["instances"] as const,
  qr: (instanceId: string, count: number) => ["instance-qr", instanceId, count] as const,
};

export const numbersQuery = infiniteQueryOptions({
  queryKey: numberKeys.list,
  queryFn: async ({ pageParam, signal }): Promise<Page<Instance>> => {
    const query = { page_token: pageParam || undefined };
    const answer = await taken<{ instances: Instance[]; next_page_token: string }>(
      api.GET("/api/v1/instances", { params: { query }, signal }),
    );
    return { items: answer.instances, nextPageToken: answer.next_page_token };
  },
  initialPageParam: "",
  getNextPageParam: (last) => last.nextPageToken || null,
});

/** How often the state of a number is asked for while its code is shown, for a line whose stream says nothing. */
export const STATE_POLL_MS = 5000;
/** A code whose end is not told, or is over, is asked for again after so long. */
const CODE_POLL_MS = 5000;

/** How long a code is good for: milliseconds. */
function untilNext(expireTime: string | null | undefined): number {
  return expireTime ? Math.max(CODE_POLL_MS, Date.parse(expireTime) - Date.now()) : CODE_POLL_MS;
}

/** The code to scan; another count is another code, and one that has ended is asked for anew. */
export function qrQuery(instanceId: string, count: number) {
  return queryOptions({
    queryKey: numberKeys.qr(instanceId, count),
    queryFn: ({ signal }) =>
      taken<InstanceQr>(
        api.GET("/api/v1/instances/{instance_id}/qr", { params: { path: { instance_id: instanceId } }, signal }),
      ),
    staleTime: Number.POSITIVE_INFINITY,
    refetchInterval: ({ state }) => untilNext(state.data?.expire_time),
    gcTime: 0,
  });
}
