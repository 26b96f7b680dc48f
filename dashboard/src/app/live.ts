import { useEffect } from "react";
import { type Fact, follow } from "../api/live.ts";
import { Overtaken } from "../api/overtaken.ts";
import { queryClient } from "../api/query.ts";
import { refetchShown } from "../api/refetching.ts";
import { applyKillSwitchFact } from "./kill-switch-facts.ts";
import { applyBoardFact } from "../pages/board/facts.ts";
import { applyCampaignFact } from "../pages/campaigns/facts.ts";
import { applyContactFact } from "../pages/contacts/facts.ts";
import { applyMetricFact } from "../pages/metrics/facts.ts";
import { applyNumberFact } from "../pages/numbers/facts.ts";
import { applyScriptFact } from "../pages/scripts/facts.ts";
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
  applyScriptFact,
  applyTeamFact,
  applyNumberFact,
  applyKillSwitchFact,
];

function apply(fact: Fact, again: boolean): void {
  APPLIED_BY.some((applyFact) => applyFact(queryClient, fact, again));
}

/** Keeps all that is shown true for as long as somebody is signed in. */
export function useLive(): void {
  useEffect(() => {
    const ending = new AbortController();
    const overtaken = new Overtaken(queryClient, (fact) => apply(fact, true));
    const onFact = (fact: Fact): void => {
      overtaken.note(fact);
      apply(fact, false);
    };
    void follow({ onFact, onGap: () => void refetchShown(queryClient) }, ending.signal);
    return () => {
      overtaken.end();
      ending.abort();
    };
  }, []);
}
