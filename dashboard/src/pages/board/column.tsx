import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { itemsOf } from "../../api/pages.ts";
import type { Board, Deal, Stage } from "../../api/types.ts";
import { money, shortTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { useNow } from "../../ui/use-now.ts";
import { columnQuery } from "./queries.ts";

/** One stage with its deals. */
export function Column({ board, stage }: { board: Board; stage: Stage }) {
  const query = useInfiniteQuery(columnQuery(board.board_id, stage.stage_id));
  const deals = itemsOf(query.data);
  return (
    <li className="flex h-full w-72 flex-col rounded-xl border border-line bg-quiet" data-stage={stage.label}>
      <h2 className="flex items-center gap-2 px-3 py-2 font-semibold">
        <span aria-hidden="true" className="size-2.5 rounded-full" style={{ background: stage.color }} />
        <span className="min-w-0 truncate">{stage.label}</span>
        {query.isSuccess ? (
          <span className="ml-auto shrink-0 text-sm font-normal text-soft" data-count>
            {text(query.hasNextPage ? "board.countMore" : "board.count", { count: deals.length })}
          </span>
        ) : null}
      </h2>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && deals.length === 0 ? <p className="px-3 text-sm text-soft">{text("board.stageEmpty")}</p> : null}
      {deals.length > 0 ? (
        <Scroller label={stage.label} className="min-h-0 flex-1 overflow-y-auto px-2 pb-2">
          <ul className="flex flex-col gap-2">
            {deals.map((deal) => (
              <Card key={deal.deal_id} deal={deal} />
            ))}
          </ul>
          <More query={query} />
        </Scroller>
      ) : null}
    </li>
  );
}

function Card({ deal }: { deal: Deal }) {
  const now = useNow();
  return (
    <li className="rounded-lg border border-line bg-card p-3 [contain-intrinsic-size:auto_72px] [content-visibility:auto]">
      <Link
        to="/contacts/$contactId"
        params={{ contactId: deal.contact_id }}
        className="block truncate font-medium underline-offset-2 hover:underline"
      >
        <bdi>{deal.title}</bdi>
      </Link>
      <p className="mt-1 flex justify-between gap-2 text-sm text-soft">
        <span>{deal.value ? money(deal.value) : ""}</span>
        <time dateTime={deal.create_time ?? undefined}>{shortTime(deal.create_time, now)}</time>
      </p>
    </li>
  );
}
