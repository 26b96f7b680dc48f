import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { api, taken } from "../../api/client.ts";
import { itemsOf } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { may, useSession } from "../../api/session.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { Campaign } from "../../api/types.ts";
import { i18n, reasonText, text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { More } from "../../ui/more.tsx";
import { notify } from "../../ui/notices.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { putCampaign } from "./facts.ts";
import { campaignQuery, touchesQuery } from "./queries.ts";
import { StateBadge } from "./state-badge.tsx";

const COUNTS = [
  "planned",
  "waiting",
  "sent",
  "delivered",
  "read",
  "replied",
  "opted_out",
  "failed",
  "suppressed",
  "cancelled",
  "uncertain",
] as const;

/** One campaign with its live counts, why some were not sent, and each touch. */
export function CampaignRegion() {
  const { campaignId } = useParams({ from: "/shell/campaigns/$campaignId" });
  const query = useQuery(campaignQuery(campaignId));
  return (
    <Scroller label={text("campaign.label")} className="h-full overflow-y-auto">
      <Link
        to="/campaigns"
        className="m-2 inline-flex rounded-lg p-2 hover:bg-quiet md:hidden"
        aria-label={text("campaign.back")}
      >
        <ArrowLeft aria-hidden="true" className="size-5" />
      </Link>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.data ? <Whole campaign={query.data} /> : null}
    </Scroller>
  );
}

function Whole({ campaign }: { campaign: Campaign }) {
  return (
    <div className="flex flex-col gap-5 p-4 md:p-6">
      <div className="flex flex-wrap items-center gap-3">
        <h1 className="text-2xl font-bold [overflow-wrap:anywhere]">
          <bdi>{campaign.name}</bdi>
        </h1>
        <StateBadge state={campaign.state} />
        <Verbs campaign={campaign} />
      </div>
      {campaign.reason ? <p className="text-warn">{reasonText(campaign.reason) ?? campaign.reason}</p> : null}
      <p dir="auto" className="rounded-lg border border-line bg-card p-3 whitespace-pre-wrap">
        {campaign.text}
      </p>
      <dl className="grid grid-cols-2 gap-2 sm:grid-cols-4">
        {COUNTS.map((count) => (
          <div key={count} className="rounded-lg border border-line bg-card p-3" data-count={count}>
            <dt className="text-sm text-soft">{text(`campaignCount.${count}`)}</dt>
            <dd className="text-xl font-semibold">{i18n.number(campaign.counts?.[`${count}_count`] ?? 0)}</dd>
          </div>
        ))}
      </dl>
      {campaign.reason_counts.length > 0 ? (
        <div>
          <h2 className="mb-2 font-semibold">{text("campaign.reasons")}</h2>
          <ul>
            {campaign.reason_counts.map((reason) => (
              <li key={reason.reason} className="flex justify-between gap-3 border-t border-line py-1">
                <span>{reasonText(reason.reason) ?? reason.reason}</span>
                <span>{i18n.number(reason.count)}</span>
              </li>
            ))}
          </ul>
        </div>
      ) : null}
      <Touches campaignId={campaign.campaign_id} />
    </div>
  );
}

type Verb = "start" | "pause" | "cancel";

function verbsOf(state: Campaign["state"]): Verb[] {
  if (state === "DRAFT" || state === "PAUSED") return ["start", "cancel"];
  return state === "RUNNING" || state === "PLANNING" ? ["pause", "cancel"] : [];
}

function Verbs({ campaign }: { campaign: Campaign }) {
  const client = useQueryClient();
  const session = useSession();
  const mutation = useMutation({
    mutationFn: (verb: Verb) => {
      const params = { path: { campaign_id: campaign.campaign_id } };
      const body = { request_id: newRequestId() };
      return withStepUp(() => taken<Campaign>(api.POST(`/api/v1/campaigns/{campaign_id}:${verb}`, { params, body })));
    },
    onSuccess: (next) => putCampaign(client, next),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
  const verbs = verbsOf(campaign.state).filter((verb) => may(verb === "start" ? "ADMIN" : "AGENT", session));
  return (
    <div className="ml-auto flex gap-2">
      {verbs.map((verb) => (
        <Button
          key={verb}
          look={verb === "start" ? "main" : verb === "cancel" ? "danger" : "plain"}
          disabled={mutation.isPending}
          onClick={() => mutation.mutate(verb)}
        >
          {text(`campaign.${verb}`)}
        </Button>
      ))}
    </div>
  );
}

function Touches({ campaignId }: { campaignId: string }) {
  const query = useInfiniteQuery(touchesQuery(campaignId));
  const touches = itemsOf(query.data);
  return (
    <div>
      <h2 className="mb-2 font-semibold">{text("campaign.touches")}</h2>
      {query.isPending ? <Loading rows={2} className="!p-0" /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && touches.length === 0 ? <p className="text-soft">{text("campaign.noTouches")}</p> : null}
      <ul>
        {touches.map((touch) => (
          <li key={touch.touch_id} className="flex flex-wrap gap-x-3 border-t border-line py-2">
            <Link
              to="/contacts/$contactId"
              params={{ contactId: touch.contact_id }}
              className="min-w-0 flex-1 text-accent underline underline-offset-2 [overflow-wrap:anywhere]"
            >
              <bdi>{touch.conversation_key}</bdi>
            </Link>
            <span>{text(touch.opted_out ? "touch.optedOut" : `touchState.${touch.state}`)}</span>
            {touch.explanation ? (
              <span className="w-full text-sm text-soft">{reasonText(touch.reason) ?? touch.explanation}</span>
            ) : null}
          </li>
        ))}
      </ul>
      <More query={query} />
    </div>
  );
}
