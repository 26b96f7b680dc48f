import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Board, BoardTotals, Deal } from "../../api/types.ts";

const BOARDS_MAX = 250;
export const PAGE_SIZE = 50;

export const boardKeys = {
  boards: ["boards"] as const,
  totals: (boardId: string) => ["totals", boardId] as const,
  movedBy: (dealId: string) => ["moved-by", dealId] as const,
  columns: ["column"] as const,
  column: (boardId: string, stageId: string) => ["column", { boardId, stageId }] as const,
};

export const boardsQuery = queryOptions({
  queryKey: boardKeys.boards,
  queryFn: async ({ signal }) => {
    const query = { page_size: BOARDS_MAX };
    const answer = await taken<{ boards: Board[] }>(api.GET("/api/v1/boards", { params: { query }, signal }));
    return answer.boards;
  },
});

/** How many deals each stage has, and what they are worth. */
export function totalsQuery(boardId: string) {
  return queryOptions({
    queryKey: boardKeys.totals(boardId),
    queryFn: ({ signal }) =>
      taken<BoardTotals>(api.GET("/api/v1/boards/{board}/totals", { params: { path: { board: boardId } }, signal })),
  });
}

/** The deals of one stage, newest first. */
export function columnQuery(boardId: string, stageId: string) {
  return infiniteQueryOptions({
    queryKey: boardKeys.column(boardId, stageId),
    queryFn: async ({ pageParam, signal }): Promise<Page<Deal>> => {
      const query = { board_id: boardId, stage_id: stageId, page_size: PAGE_SIZE, page_token: pageParam || undefined };
      const answer = await taken<{ deals: Deal[]; next_page_token: string }>(
        api.GET("/api/v1/deals", { params: { query }, signal }),
      );
      return { items: answer.deals, nextPageToken: answer.next_page_token };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.nextPageToken || null,
  });
}
