import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { may, useSession } from "../../api/session.ts";
import type { Conversation, Session } from "../../api/types.ts";
import { shortTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { useNow } from "../../ui/use-now.ts";
import { putHandoff } from "./facts.ts";

type Mode = "AI" | "HUMAN";

/** Who has a conversation and until when automation is silent, with the way to take it over or give it back. */
export function HandoffBar({ conversation }: { conversation: Conversation }) {
  const session = useSession();
  const now = useNow();
  const hand = useHandoff(conversation);
  const mode: Mode = conversation.handoff?.mode === "HUMAN" ? "HUMAN" : "AI";
  return (
    <div className="flex flex-wrap items-center gap-x-3 gap-y-1 border-b border-line bg-card px-4 py-1.5 text-sm" data-handoff={mode}>
      <output className="flex min-w-0 flex-1 basis-52 flex-wrap items-center gap-x-2 gap-y-1">
        <Badge tone={mode === "HUMAN" ? "warn" : "good"}>{text(`handoff.${mode}`)}</Badge>
        <span className="min-w-0 text-soft [overflow-wrap:anywhere]">{whoHasIt(conversation, session, now)}</span>
      </output>
      {may("AGENT", session) ? (
        <Button
          // Not disabled while it is asked: whoever came by keyboard would lose their place.
          aria-busy={hand.isPending}
          onClick={() => (hand.isPending ? undefined : hand.mutate(mode === "AI" ? "HUMAN" : "AI"))}
        >
          {text(mode === "AI" ? "handoff.take" : "handoff.give")}
        </Button>
      ) : null}
      {hand.isError ? (
        <p role="alert" className="w-full text-bad">
          {sentence(hand.error)}
        </p>
      ) : null}
    </div>
  );
}

/** In one sentence: who answers, since when, and what ends it. */
export function whoHasIt({ handoff }: Conversation, session: Session | null | undefined, now: Date): string {
  if (handoff?.mode !== "HUMAN") return text("handoff.automation");
  const time = shortTime(handoff.time, now);
  const { actor } = handoff;
  if (actor?.principal && actor.principal === `user:${session?.user_id}`) return text("handoff.mine", { time });
  if (actor?.name) return text("handoff.theirs", { name: actor.name, time });
  if (handoff.source === "webhook") return text("handoff.byLabel", { time });
  if (handoff.source.startsWith("echo_")) return text("handoff.byPhone", { time });
  return text("handoff.theirs", { name: text("board.somebody"), time });
}

function useHandoff({ conversation_id: conversationId, handoff }: Conversation) {
  const client = useQueryClient();
  const intent = useRef<{ mode: Mode; since: string | undefined; requestId: string }>(undefined);
  return useMutation({
    mutationFn: async (mode: Mode) => {
      // Asked again after a broken connection it is the same intent, unless it changed hands since.
      const since = handoff?.time ?? undefined;
      if (intent.current?.mode !== mode || intent.current.since !== since) {
        intent.current = { mode, since, requestId: newRequestId() };
      }
      const conversation = await taken<Conversation>(
        api.POST("/api/v1/conversations/{conversation_id}:setHandoff", {
          params: { path: { conversation_id: conversationId } },
          body: { mode, request_id: intent.current.requestId },
        }),
      );
      intent.current = undefined;
      return conversation;
    },
    onSuccess: (conversation) => putHandoff(client, conversationId, conversation.handoff),
  });
}
