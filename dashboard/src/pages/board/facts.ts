import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { dropItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { BoardTotals, Deal, StageMove } from "../../api/types.ts";
import { contactKeys } from "../contacts/queries.ts";
import { wasOwn } from "./own-moves.ts";
import { boardKeys } from "./queries.ts";

/** Totals that were changed here are asked for again so much later: many moves in a row ask once. */
const TOTALS_MS = 2_000;
/** How long a card says who moved it. */
const MOVED_BY_MS = 15_000;

/** Brings the board to where a fact says it is, counted once though applied again; answers whether it was of that kind. */
export function applyBoardFact(client: QueryClient, fact: Fact, again = false): boolean {
  const [, name] = fact.type.split("prosa.crm.v1.");
  if (!name) return false;
  if (name.startsWith("Board")) {
    void client.invalidateQueries({ queryKey: boardKeys.boards });
    return true;
  }
  const { deal, stage_move: move } = fact.data as { deal?: Deal; stage_move?: StageMove };
  if (!deal) return false;
  putDeal(client, deal);
  if (again) askTotals(client, deal.board_id);
  else if (move) onMove(client, deal, move);
  else if (name === "DealCreated") count(client, deal.board_id, new Map([[deal.stage_id, 1]]));
  else askTotals(client, deal.board_id);
  return true;
}

function onMove(client: QueryClient, deal: Deal, move: StageMove): void {
  if (move.from_stage_id !== move.to_stage_id) {
    count(client, deal.board_id, new Map([[move.from_stage_id, -1], [move.to_stage_id, 1]]));
  }
  if (wasOwn(deal.deal_id, move.to_stage_id) || !move.actor?.name) return;
  const key = boardKeys.movedBy(deal.deal_id);
  client.setQueryData(key, move.actor.name);
  setTimeout(() => client.removeQueries({ queryKey: key }), MOVED_BY_MS);
}

/** Shows a deal in its stage's column, and in no other. */
export function putDeal(client: QueryClient, deal: Deal): void {
  const same = (other: Deal): boolean => other.deal_id === deal.deal_id;
  for (const query of client.getQueryCache().findAll({ queryKey: boardKeys.columns })) {
    const { stageId } = query.queryKey[1] as { boardId: string; stageId: string };
    client.setQueryData<Paged<Deal>>(query.queryKey, (paged) => {
      if (!paged) return paged;
      return stageId === deal.stage_id ? raiseItem(paged, same, deal) : dropItem(paged, same);
    });
  }
  void client.invalidateQueries({ queryKey: contactKeys.deals(deal.contact_id) });
}

/** Changes the counts at once; what the deals are worth follows with the server's own sum. */
function count(client: QueryClient, boardId: string, changes: Map<string, number>): void {
  client.setQueryData<BoardTotals>(
    boardKeys.totals(boardId),
    (totals) =>
      totals && {
        ...totals,
        stages: totals.stages.map((stage) => ({
          ...stage,
          deal_count: stage.deal_count + (changes.get(stage.stage_id) ?? 0),
        })),
      },
  );
  askTotals(client, boardId);
}

const asking = new Map<string, ReturnType<typeof setTimeout>>();

function askTotals(client: QueryClient, boardId: string): void {
  if (asking.has(boardId)) return;
  const timer = setTimeout(() => {
    asking.delete(boardId);
    void client.invalidateQueries({ queryKey: boardKeys.totals(boardId) });
  }, TOTALS_MS);
  asking.set(boardId, timer);
}
