import { QueryClient } from "@tanstack/react-query";
import { beforeEach, expect, test, vi } from "vitest";
import { itemsOf, type Paged } from "../../api/pages.ts";
import type { BoardTotals, Deal } from "../../api/types.ts";
import { applyBoardFact } from "./facts.ts";
import { expectOwn } from "./own-moves.ts";
import { boardKeys } from "./queries.ts";

let client: QueryClient;
beforeEach(() => {
  vi.useFakeTimers();
  client = new QueryClient();
  for (const stageId of ["new", "won"]) {
    client.setQueryData<Paged<Deal>>(boardKeys.column("b", stageId), {
      pages: [{ items: stageId === "new" ? [deal("1", "new"), deal("2", "new")] : [], nextPageToken: "" }],
      pageParams: [""],
    });
  }
  client.setQueryData(boardKeys.totals("b"), {
    board_id: "b",
    stages: [
      { stage_id: "new", deal_count: 2, values: [] },
      { stage_id: "won", deal_count: 0, values: [] },
    ],
  });
  return () => vi.useRealTimers();
});

function deal(id: string, stageId: string): Deal {
  return { deal_id: id, board_id: "b", stage_id: stageId, contact_id: "c", title: id } as Deal;
}

function column(stageId: string): string[] {
  return itemsOf(client.getQueryData<Paged<Deal>>(boardKeys.column("b", stageId))).map((item) => item.deal_id);
}

function counts(): number[] | undefined {
  return client.getQueryData<BoardTotals>(boardKeys.totals("b"))?.stages.map((stage) => stage.deal_count);
}

function tellMove(id: string, from: string, to: string, name: string): void {
  const data = { deal: deal(id, to), stage_move: { from_stage_id: from, to_stage_id: to, actor: { name } } };
  expect(applyBoardFact(client, { type: "prosa.crm.v1.DealMoved", position: 1, data })).toBe(true);
}

test("somebody's move changes both columns and both totals, and says who it was for a while", () => {
  tellMove("1", "new", "won", "Ana");
  expect([column("new"), column("won"), counts()]).toEqual([["2"], ["1"], [1, 1]]);
  expect(client.getQueryData(boardKeys.movedBy("1"))).toBe("Ana");
  vi.advanceTimersByTime(60_000);
  expect(client.getQueryData(boardKeys.movedBy("1"))).toBeUndefined();
});

test("a move that is applied again, to an answer made before it, is counted once", () => {
  tellMove("1", "new", "won", "Ana");
  const data = { deal: deal("1", "won"), stage_move: { from_stage_id: "new", to_stage_id: "won", actor: { name: "Ana" } } };
  applyBoardFact(client, { type: "prosa.crm.v1.DealMoved", position: 1, data }, true);
  expect([column("new"), column("won"), counts()]).toEqual([["2"], ["1"], [1, 1]]);
});

test("one's own move is no news", () => {
  expectOwn("1", "won");
  tellMove("1", "new", "won", "Ana");
  expect(column("won")).toEqual(["1"]);
  expect(client.getQueryData(boardKeys.movedBy("1"))).toBeUndefined();
  tellMove("1", "won", "new", "Ana");
  tellMove("1", "new", "won", "Ana");
  expect(client.getQueryData(boardKeys.movedBy("1"))).toBe("Ana");
});

test("what automation says of a deal in its stage moves nothing", () => {
  tellMove("1", "new", "new", "Ana");
  expect(counts()).toEqual([2, 0]);
});
