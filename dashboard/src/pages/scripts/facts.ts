import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { changeItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { Round, Script } from "../../api/types.ts";
import { scriptKeys } from "./queries.ts";

/** Brings scripts and their rounds to where a fact says they are; answers whether the fact was of that kind. */
export function applyScriptFact(client: QueryClient, fact: Fact): boolean {
  if (fact.type === "prosa.conversation.v1.ScriptChanged") {
    putScript(client, (fact.data as unknown as { script: Script }).script);
    return true;
  }
  if (fact.type !== "prosa.conversation.v1.RoundChanged") return false;
  putRound(client, (fact.data as unknown as { round: Round }).round);
  return true;
}

export function putScript(client: QueryClient, script: Script): void {
  const same = (other: Script): boolean => other.script_id === script.script_id;
  client.setQueryData<Paged<Script>>(scriptKeys.list, (paged) => {
    if (!paged) return paged;
    const changed = changeItem(paged, same, () => script);
    return changed === paged ? raiseItem(paged, same, script) : changed;
  });
  client.setQueryData<Script>(scriptKeys.one(script.script_id), (known) => known && script);
}

/** A round that is only planned joins no list: there are too many of them, and the script says when the next is. */
export function putRound(client: QueryClient, round: Round): void {
  const planned = round.state === "PLANNED";
  const same = (other: Round): boolean => other.round_id === round.round_id;
  client.setQueryData<Paged<Round>>(scriptKeys.rounds(round.script_id), (paged) => {
    if (!paged) return paged;
    const changed = changeItem(paged, same, () => round);
    return changed === paged && !planned ? raiseItem(paged, same, round) : changed;
  });
  client.setQueryData<Round>(scriptKeys.round(round.round_id), (known) => known && round);
  if (planned || round.sent_count > 0) return;
  // It has begun, or is skipped: another one is the next now.
  void client.invalidateQueries({ queryKey: scriptKeys.list });
  void client.invalidateQueries({ queryKey: scriptKeys.one(round.script_id) });
}
