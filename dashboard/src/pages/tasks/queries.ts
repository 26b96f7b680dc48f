import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { IdentityConflict, Task } from "../../api/types.ts";

const PAGE_SIZE = 50;
export const TASK_STATES = ["OPEN", "ACCEPTED", "REJECTED"] as const;
export type TaskState = (typeof TASK_STATES)[number];

export const taskKeys = {
  lists: ["tasks"] as const,
  list: (state: TaskState) => ["tasks", { state }] as const,
  conflict: (conflictId: string) => ["conflict", conflictId] as const,
};

export function tasksQuery(state: TaskState) {
  return infiniteQueryOptions({
    queryKey: taskKeys.list(state),
    queryFn: async ({ pageParam, signal }): Promise<Page<Task>> => {
      const query = { state, page_size: PAGE_SIZE, page_token: pageParam || undefined };
      const answer = await taken<{ tasks: Task[]; next_page_token: string }>(
        api.GET("/api/v1/reconciliation-tasks", { params: { query }, signal }),
      );
      return { items: answer.tasks, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}

/** Both sides of a conflict, with what speaks for each. */
export function conflictQuery(conflictId: string) {
  return queryOptions({
    queryKey: taskKeys.conflict(conflictId),
    queryFn: ({ signal }) =>
      taken<IdentityConflict>(
        api.GET("/api/v1/identity-conflicts/{identity_conflict_id}", {
          params: { path: { identity_conflict_id: conflictId } },
          signal,
        }),
      ),
  });
}
