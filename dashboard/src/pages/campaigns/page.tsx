import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, Outlet, useParams } from "@tanstack/react-router";
import { itemsOf } from "../../api/pages.ts";
import type { Campaign } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
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
  const campaigns = itemsOf(query.data);
  return (
    <div className="flex h-full">
      <section
        aria-label={text("campaigns.title")}
        className={classes(
          "min-h-0 w-full flex-col border-line md:flex md:w-80 md:border-r lg:w-96",
          campaignId ? "hidden" : "flex",
        )}
      >
        <h1 className="border-b border-line p-3 font-semibold">{text("campaigns.title")}</h1>
        {query.isPending ? <Loading /> : null}
        {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
        {query.isSuccess && campaigns.length === 0 ? <Empty sentence={text("campaigns.empty")} /> : null}
        {campaigns.length > 0 ? (
          <Scroller label={text("campaigns.list")} className="min-h-0 flex-1 overflow-y-auto">
            <ul>
              {campaigns.map((campaign) => (
                <li key={campaign.campaign_id} className="border-b border-line">
                  <Link
                    to="/campaigns/$campaignId"
                    params={{ campaignId: campaign.campaign_id }}
                    aria-current={campaign.campaign_id === campaignId ? "true" : undefined}
                    className="block px-4 py-3 -outline-offset-2 hover:bg-quiet aria-[current]:bg-quiet"
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
              ))}
            </ul>
            <More query={query} />
          </Scroller>
        ) : null}
      </section>
      <div className={classes("min-h-0 min-w-0 flex-1 md:block", campaignId ? "block" : "hidden")}>
        {campaignId ? (
          <Outlet />
        ) : (
          <p className="hidden h-full place-items-center text-soft md:grid">{text("campaigns.choose")}</p>
        )}
      </div>
    </div>
  );
}
