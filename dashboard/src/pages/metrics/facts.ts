import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { metricKeys } from "./queries.ts";

/** However many messages come, figures are asked for again at most so often. */
const AGAIN_MS = 5_000;
const COUNTED = new Set(["prosa.conversation.v1.MessageReceived", "prosa.conversation.v1.MessageSent"]);

let waiting = false;

/** Asks for the figures again soon after a message; claims no fact, since others show the message itself. */
export function applyMetricFact(client: QueryClient, fact: Fact): false {
  if (!waiting && COUNTED.has(fact.type)) {
    waiting = true;
    setTimeout(() => {
      waiting = false;
      void client.invalidateQueries({ queryKey: metricKeys.all });
    }, AGAIN_MS);
  }
  return false;
}
