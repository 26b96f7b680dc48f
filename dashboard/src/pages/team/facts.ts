import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { teamKeys } from "./queries.ts";

const KINDS = new Set(["prosa.identity.v1.MemberChanged", "prosa.identity.v1.MemberRemoved"]);

/** Asks for the team again when somebody joined it, left it or has another role; answers whether it was such a fact. */
export function applyTeamFact(client: QueryClient, fact: Fact): boolean {
  if (!KINDS.has(fact.type)) return false;
  void client.invalidateQueries({ queryKey: teamKeys.members });
  void client.invalidateQueries({ queryKey: teamKeys.invitations });
  return true;
}
