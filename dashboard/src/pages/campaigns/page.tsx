import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import type { Campaign } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { MakeByApi } from "../../ui/empty-actions.tsx";
import { ListAndOne, PagedList, ROW } from "../../ui/list.tsx";
import { Empty } from "../../ui/states.tsx";
import { campaignsQuery } from "./queries.ts";
import { StateBadge } from "./state-badge.tsx";

/** How many of its messages have left, whatever became of them since. */
function leftOf({ counts }: Campaign): number {
  return (counts?.sent_count ?? 0) + (counts?.delivered_count ?? 0) + (counts?.read_count ?? 0);
}

/** The campaigns, and one of them beside the list; on a narrow screen one of the two. */
export function CampaignsPage() {
  const { campaignId } = useParams({ strict: false });
  const query = useInfiniteQuery(campaignsQuery);
  return (
    <ListAndOne title={text("campaigns.title")} open={Boolean(campaignId)} choose={text("campaigns.choose")}>
      <h1 className="border-b border-line p-3 font-semibold">{text("campaigns.title")}</h1>
      <PagedList
        query={query}
        label={text("campaigns.list")}
        empty={<Empty sentence={text("campaigns.empty")} action={<MakeByApi />} />}
      >
        {(campaign) => (
          <li key={campaign.campaign_id} className="border-b border-line">
            <Link
              to="/campaigns/$campaignId"
              params={{ campaignId: campaign.campaign_id }}
              aria-current={campaign.campaign_id === campaignId ? "true" : undefined}
              className={ROW}
            >
              <span className="flex items-center gap-2">
                <bdi className="min-w-0 flex-1 truncate font-medium">{campaign.name}</bdi>
                <StateBadge state={campaign.state} />
              </span>
              <span className="text-sm text-soft">
                {text("campaigns.sentOf", {
                  sent: leftOf(campaign),
                  planned: campaign.counts?.planned_count ?? 0,
                })}
              </span>
            </Link>
          </li>
        )}
      </PagedList>
    </ListAndOne>
  );
}
