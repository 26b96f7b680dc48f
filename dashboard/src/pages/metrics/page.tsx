import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense } from "react";
import { text } from "../../texts/index.ts";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { Heatmap } from "./heatmap.tsx";
import { hourHeatmapQuery, messagesPerDayQuery } from "./queries.ts";

/** The library of charts is by far the largest part of the page: it comes last. */
const DayBars = lazy(() => import("./day-bars.tsx").then((module) => ({ default: module.DayBars })));

/** What was written in the last days, by day and by hour; each panel comes by itself. */
export function MetricsPage() {
  const days = useQuery(messagesPerDayQuery);
  const heatmap = useQuery(hourHeatmapQuery);
  return (
    <Scroller label={text("metrics.title")} className="flex h-full flex-col gap-6 overflow-y-auto p-4 md:p-6">
      <h1 className="text-2xl font-bold">{text("metrics.title")}</h1>
      <Panel title={text("metrics.days")} query={days}>
        {days.data ? (
          <Suspense fallback={<Loading rows={4} />}>
            <DayBars days={days.data.days} />
          </Suspense>
        ) : null}
      </Panel>
      <Panel title={text("metrics.heatmap")} query={heatmap}>
        {heatmap.data ? <Heatmap heatmap={heatmap.data} /> : null}
      </Panel>
      {days.data ? <p className="text-sm text-soft">{text("metrics.zone", { zone: days.data.time_zone })}</p> : null}
    </Scroller>
  );
}

interface PanelProps {
  title: string;
  query: { isPending: boolean; isError: boolean; error: unknown; refetch: () => unknown };
  children: ReactNode;
}

function Panel({ title, query, children }: PanelProps) {
  return (
    <section aria-label={title} className="rounded-xl border border-line bg-card p-4">
      <h2 className="mb-3 font-semibold">{title}</h2>
      {query.isPending ? <Loading rows={4} className="!p-0" /> : null}
      {query.isError ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {children}
    </section>
  );
}
