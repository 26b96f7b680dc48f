import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { dropItem, type Paged, raiseItem, changeItem } from "../../api/pages.ts";
import type { Instance } from "../../api/types.ts";
import { numberKeys } from "./queries.ts";

/** Brings the numbers to where a fact says they are; answers whether the fact was of that kind. */
export function applyNumberFact(client: QueryClient, fact: Fact): boolean {
  if (fact.type !== "prosa.conversation.v1.InstanceChanged") return false;
  const { instance, deleted } = fact.data as unknown as { instance: Instance; deleted: boolean };
  const same = (other: Instance): boolean => other.instance_id === instance.instance_id;
  client.setQueryData<Paged<Instance>>(numberKeys.list, (paged) => {
    if (!paged) return paged;
    if (deleted) return dropItem(paged, same);
    const changed = changeItem(paged, same, () => instance);
    return changed === paged ? raiseItem(paged, same, instance) : changed;
  });
  return true;
}
