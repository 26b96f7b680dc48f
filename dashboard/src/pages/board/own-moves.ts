/** Moves that this tab asked for: their facts are no news to the person who made them. */
const own = new Set<string>();

function moveKey(dealId: string, stageId: string): string {
  return `${dealId}:${stageId}`;
}

export function expectOwn(dealId: string, toStageId: string): void {
  own.add(moveKey(dealId, toStageId));
}

/** Says whether a move is one of this tab's own, once. */
export function wasOwn(dealId: string, toStageId: string): boolean {
  return own.delete(moveKey(dealId, toStageId));
}
