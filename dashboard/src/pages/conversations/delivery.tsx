import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { ComponentProps, ReactNode } from "react";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { may, useSession } from "../../api/session.ts";
import type { Delivery, Message } from "../../api/types.ts";
import { clockTime } from "../../texts/formats.ts";
import { reasonText, text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { notify } from "../../ui/notices.tsx";
import { draftOf, keepDraft } from "./drafts.ts";
import { dropPending, type Pending, pendingOf } from "./pending.ts";
import { sendAgain, tryAgain } from "./sending.ts";

/** Below a message of ours that has not simply left: why, and what a person can do about it. */
export function DeliveryLine({ message, again }: { message: Message; again: boolean }) {
  const client = useQueryClient();
  const session = useSession();
  const check = useDelivery("check");
  const cancel = useDelivery("cancel");
  const why = whyNotLeft(message);
  const acts = message.delivery && may("AGENT", session);
  const retry = acts && again && canBeSentAgain(message);
  if (!why && !retry && !(acts && ["QUEUED", "UNCERTAIN"].includes(message.state))) return null;
  return (
    <Line>
      {why ? <span className="min-w-0 [overflow-wrap:anywhere]">{why}</span> : null}
      {retry ? <Action onClick={() => sendAgain(client, message)}>{text("message.sendAgain")}</Action> : null}
      {acts && message.state === "UNCERTAIN" ? (
        <Action disabled={check.isPending} onClick={() => check.mutate(message.message_id)}>
          {text("message.check")}
        </Action>
      ) : null}
      {acts && message.state === "QUEUED" ? (
        <Action disabled={cancel.isPending} onClick={() => cancel.mutate(message.message_id)}>
          {text("message.cancel")}
        </Action>
      ) : null}
    </Line>
  );
}

/** Below what the server has not taken: why, and the ways on. What was surely refused can be changed first. */
export function PendingLine({ pending }: { pending: Pending }) {
  const client = useQueryClient();
  if (pending.state === "ASKING") return null;
  const refused = pending.state === "REFUSED";

  function edit(): void {
    // It is a draft again, before whatever was begun since.
    const drafts = [pending.text, draftOf(pending.conversationId)].filter(Boolean);
    dropPending(pending.requestId);
    keepDraft(pending.conversationId, drafts.join("\n"));
  }

  return (
    <Line alert>
      <span className="min-w-0 [overflow-wrap:anywhere]">
        {refused ? sentence(pending.error) : text("message.unreached")}
      </span>
      <Action onClick={() => tryAgain(client, pending.requestId)}>{text("action.retry")}</Action>
      {refused ? <Action onClick={edit}>{text("message.edit")}</Action> : null}
    </Line>
  );
}

function Line({ children, alert = false }: { children: ReactNode; alert?: boolean }) {
  return (
    <div
      role={alert ? "alert" : undefined}
      className="mt-1 flex max-w-[85%] flex-wrap items-center justify-end gap-x-2 gap-y-1 text-xs text-soft md:max-w-[70%]"
    >
      {children}
    </div>
  );
}

function Action({ children, ...rest }: ComponentProps<"button">) {
  return (
    <Button className="!min-h-7 !px-2 !py-0.5 text-xs" {...rest}>
      {children}
    </Button>
  );
}

/** Why a message waits, or did not leave; empty where there is nothing to say. */
export function whyNotLeft({ state, delivery, error_message: refusal }: Message): string {
  const { reason = "", explanation = "", retry_time: retryTime = null } = delivery ?? {};
  const ours = reasonText(reason) ?? explanation;
  switch (state) {
    case "FAILED": {
      // What the provider says is the one thing that helps; nobody has other words for it.
      if (ours && reason !== "PROVIDER_REFUSED") return ours;
      const detail = explanation || refusal;
      return detail ? text("message.refusedBy", { detail }) : "";
    }
    case "QUEUED":
      return ours && retryTime ? `${ours} ${text("message.nextTry", { time: clockTime(retryTime) })}` : ours;
    case "UNCERTAIN":
    case "SUPPRESSED":
    case "CANCELLED":
      return ours;
    default:
      return "";
  }
}

/** Whether nothing of it can have left, and it was a person's; what may have left is only looked for. */
export function canBeSentAgain({ state, delivery, message_id: id }: Message): boolean {
  if (delivery?.send_class !== "PERSON" || delivery.reason === "PROVIDER_SILENT" || pendingOf(id)) return false;
  return state === "FAILED" || state === "SUPPRESSED";
}

/** Of messages that did not arrive, those that nobody has said again since. Oldest first. */
export function unansweredFailures(messages: readonly Message[]): Set<string> {
  const saidLater = new Set<string>();
  const found = new Set<string>();
  for (const message of messages.toReversed()) {
    if (message.direction !== "OUTBOUND") continue;
    if (canBeSentAgain(message) && !saidLater.has(message.text)) found.add(message.message_id);
    saidLater.add(message.text);
  }
  return found;
}

function useDelivery(what: "check" | "cancel") {
  return useMutation({
    mutationFn: (deliveryId: string) => {
      const rest = { params: { path: { delivery_id: deliveryId } }, body: {} };
      return taken<Delivery>(
        what === "check"
          ? api.POST("/api/v1/deliveries/{delivery_id}:check", rest)
          : api.POST("/api/v1/deliveries/{delivery_id}:cancel", rest),
      );
    },
    // What changed is told by a fact; that nothing did is not.
    onSuccess: (delivery) => (delivery.state === "UNCERTAIN" ? notify(text("message.stillUnclear")) : undefined),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
}
