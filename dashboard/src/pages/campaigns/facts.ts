import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { changeItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { Campaign } from "../../api/types.ts";
import { campaignKeys } from "./queries.ts";

/** Brings campaigns and their counts to where a fact says they are; answers whether the fact was of that kind. */
export function applyCampaignFact(client: QueryClient, fact: Fact): boolean {
  if (fact.type !== "prosa.outreach.v1.CampaignChanged") return false;
  putCampaign(client, (fact.data as unknown as { campaign: Campaign }).campaign);
  return true;
}

export function putCampaign(client: QueryClient, campaign: Campaign): void {
  const same = (other: Campaign): boolean => other.campaign_id === campaign.campaign_id;
  client.setQueryData<Paged<Campaign>>(campaignKeys.list, (paged) => {
    if (!paged) return paged;
    const changed = changeItem(paged, same, () => campaign);
    return changed === paged ? raiseItem(paged, same, campaign) : changed;
  });
  client.setQueryData<Campaign>(campaignKeys.one(campaign.campaign_id), (known) => known && campaign);
  void client.invalidateQueries({ queryKey: campaignKeys.touches(campaign.campaign_id) });
}
