import { type QueryClient, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import { CallFailed, sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import type { Deal, Stage } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { notify } from "../../ui/notices.tsx";
import { putDeal } from "./facts.ts";
import { expectOwn, wasOwn } from "./own-moves.ts";

export interface Move {
  deal: Deal;
  to: Stage;
  requestId: string;
}

async function ask({ deal, to, requestId }: Move): Promise<Deal> {
  const path = { deal_id: deal.deal_id };
  if (deal.state !== "OPEN") {
    const body = { stage: to.stage_id, etag: deal.etag, request_id: requestId };
    return taken<Deal>(api.POST("/api/v1/deals/{deal_id}:reopen", { params: { path }, body }));
  }
  const body = { stage: to.stage_id, from_stage_id: deal.stage_id, request_id: requestId };
  return taken<Deal>(api.POST("/api/v1/deals/{deal_id}:move", { params: { path }, body }));
}

/** Shows a move at once, asks for it, and takes it back visibly where it is refused. */
export function useMoveDeal(): (deal: Deal, to: Stage) => void {
  const client = useQueryClient();
  const mutation = useMutation({
    mutationFn: ask,
    onMutate: ({ deal, to }) => {
      expectOwn(deal.deal_id, to.stage_id);
      putDeal(client, { ...deal, stage_id: to.stage_id, stage_label: to.label, state: to.deal_state });
      notify(text("board.moved", { deal: deal.title, stage: to.label }));
    },
    onSuccess: (deal) => putDeal(client, deal),
    onError: (error, { deal, to }) => {
      wasOwn(deal.deal_id, to.stage_id);
      takeBack(client, deal, error);
    },
  });
  return (deal, to) => {
    if (deal.stage_id !== to.stage_id) mutation.mutate({ deal, to, requestId: newRequestId() });
  };
}

function takeBack(client: QueryClient, deal: Deal, error: unknown): void {
  const meanwhile = error instanceof CallFailed && error.reason === "DEAL_MOVED_MEANWHILE" ? error.metadata : {};
  const { stage_id, stage_label, moved_by } = meanwhile;
  if (stage_id && stage_label) {
    putDeal(client, { ...deal, stage_id, stage_label });
    notify(text("board.movedMeanwhile", { name: moved_by || text("board.somebody"), stage: stage_label }), { tone: "bad" });
    return;
  }
  putDeal(client, deal);
  notify(sentence(error), { tone: "bad" });
}
