import type { QueryClient } from "@tanstack/react-query";
import { killSwitchKey } from "../api/kill-switch.ts";
import type { Fact } from "../api/live.ts";

/** Shows at once that somebody has stopped all sending, or lets it go on; answers whether the fact was of that kind. */
export function applyKillSwitchFact(client: QueryClient, fact: Fact): boolean {
  if (fact.type !== "prosa.outreach.v1.KillSwitchChanged") return false;
  void client.invalidateQueries({ queryKey: killSwitchKey });
  return true;
}
