import type { Deal } from "../../api/types.ts";

const KIND = "deal";

export function dragData(deal: Deal): Record<string, unknown> {
  return { kind: KIND, deal };
}

/** Answers the deal that is dragged, or undefined where something else is. */
export function draggedDeal(data: Record<string | symbol, unknown>): Deal | undefined {
  return data.kind === KIND ? (data.deal as Deal) : undefined;
}
