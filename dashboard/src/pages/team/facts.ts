import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { teamKeys } from "./queries.ts";

/** Asks for the team again when somebody joined it; answers whether the fact was of that kind. */
export function applyTeamFact(client: QueryClient, fact: Fact): boolean {
  if (fact.type !== "prosa.identity.v1.MemberChanged") return false;
  void client.invalidateQueries({ queryKey: teamKeys.members });
  void client.invalidateQueries({ queryKey: teamKeys.invitations });
  return true;
}
