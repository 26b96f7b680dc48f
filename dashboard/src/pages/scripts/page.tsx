import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, Outlet, useParams } from "@tanstack/react-router";
import { itemsOf } from "../../api/pages.ts";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { scriptsQuery } from "./queries.ts";
import { ScriptBadge } from "./state-badge.tsx";

/** The scripts, and one of them beside the list; on a narrow screen one of the two. */
export function ScriptsPage() {
  const { scriptId } = useParams({ strict: false });
  const query = useInfiniteQuery(scriptsQuery);
  const scripts = itemsOf(query.data);
  return (
    <div className="flex h-full">
      <section
        aria-label={text("scripts.title")}
        className={classes(
          "min-h-0 w-full flex-col border-line md:flex md:w-80 md:border-r lg:w-96",
          scriptId ? "hidden" : "flex",
        )}
      >
        <h1 className="border-b border-line p-3 font-semibold">{text("scripts.title")}</h1>
        {query.isPending ? <Loading /> : null}
        {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
        {query.isSuccess && scripts.length === 0 ? <Empty sentence={text("scripts.empty")} /> : null}
        {scripts.length > 0 ? (
          <Scroller label={text("scripts.list")} className="min-h-0 flex-1 overflow-y-auto">
            <ul>
              {scripts.map((script) => (
                <li key={script.script_id} className="border-b border-line">
                  <Link
                    to="/scripts/$scriptId"
                    params={{ scriptId: script.script_id }}
                    aria-current={script.script_id === scriptId ? "true" : undefined}
                    className="block px-4 py-3 -outline-offset-2 hover:bg-quiet aria-[current]:bg-quiet"
                    data-script={script.state}
                  >
                    <span className="flex items-center gap-2">
                      <bdi className="min-w-0 flex-1 truncate font-medium">{script.name}</bdi>
                      <ScriptBadge state={script.state} />
                    </span>
                    <span className="text-sm text-soft">
                      {script.next_round_time
                        ? text("scripts.next", { time: fullTime(script.next_round_time) })
                        : text("scripts.noNext")}
                    </span>
                  </Link>
                </li>
              ))}
            </ul>
            <More query={query} />
          </Scroller>
        ) : null}
      </section>
      <div className={classes("min-h-0 min-w-0 flex-1 md:block", scriptId ? "block" : "hidden")}>
        {scriptId ? (
          <Outlet />
        ) : (
          <p className="hidden h-full place-items-center text-soft md:grid">{text("scripts.choose")}</p>
        )}
      </div>
    </div>
  );
}
