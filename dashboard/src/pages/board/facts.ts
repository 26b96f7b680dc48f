import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { dropItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { Deal } from "../../api/types.ts";
import { contactKeys } from "../contacts/queries.ts";
import { boardKeys } from "./queries.ts";

/** Brings the board to where a fact says it is; answers whether the fact was of that kind. */
export function applyBoardFact(client: QueryClient, fact: Fact): boolean {
  const [, name] = fact.type.split("prosa.crm.v1.");
  if (!name) return false;
  if (name.startsWith("Board")) {
    void client.invalidateQueries({ queryKey: boardKeys.boards });
    return true;
  }
  const { deal } = fact.data as { deal?: Deal };
  if (!deal) return false;
  putDeal(client, deal);
  return true;
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
