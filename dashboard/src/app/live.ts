import { useEffect } from "react";
import { type Fact, follow } from "../api/live.ts";
import { queryClient } from "../api/query.ts";
import { applyKillSwitchFact } from "./kill-switch-facts.ts";
import { applyBoardFact } from "../pages/board/facts.ts";
import { applyCampaignFact } from "../pages/campaigns/facts.ts";
import { applyContactFact } from "../pages/contacts/facts.ts";
import { applyMetricFact } from "../pages/metrics/facts.ts";
import { applyNumberFact } from "../pages/numbers/facts.ts";
import { applyTaskFact } from "../pages/tasks/facts.ts";
import { applyTeamFact } from "../pages/team/facts.ts";
import { applyConversationFact } from "../pages/conversations/facts.ts";

const APPLIED_BY = [
  applyMetricFact,
  applyConversationFact,
  applyContactFact,
  applyTaskFact,
  applyBoardFact,
  applyCampaignFact,
  applyTeamFact,
  applyNumberFact,
  applyKillSwitchFact,
];

function onFact(fact: Fact): void {
  APPLIED_BY.some((apply) => apply(queryClient, fact));
}

/** What is shown may be old; what must not be asked for twice says so. */
function refetch(): void {
  void queryClient.invalidateQueries({ predicate: (query) => query.meta?.keptThroughGaps !== true });
}

/** Keeps all that is shown true for as long as somebody is signed in. */
export function useLive(): void {
  useEffect(() => {
    const ending = new AbortController();
    void follow({ onFact, onGap: refetch }, ending.signal);
    return () => ending.abort();
  }, []);
}
