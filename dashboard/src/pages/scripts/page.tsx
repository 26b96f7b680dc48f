import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { MakeByApi } from "../../ui/empty-actions.tsx";
import { ListAndOne, PagedList, ROW } from "../../ui/list.tsx";
import { Empty } from "../../ui/states.tsx";
import { scriptsQuery } from "./queries.ts";
import { ScriptBadge } from "./state-badge.tsx";

/** The scripts, and one of them beside the list; on a narrow screen one of the two. */
export function ScriptsPage() {
  const { scriptId } = useParams({ strict: false });
  const query = useInfiniteQuery(scriptsQuery);
  return (
    <ListAndOne title={text("scripts.title")} open={Boolean(scriptId)} choose={text("scripts.choose")}>
      <h1 className="border-b border-line p-3 font-semibold">{text("scripts.title")}</h1>
      <PagedList
        query={query}
        label={text("scripts.list")}
        empty={<Empty sentence={text("scripts.empty")} action={<MakeByApi />} />}
      >
        {(script) => (
          <li key={script.script_id} className="border-b border-line">
            <Link
              to="/scripts/$scriptId"
              params={{ scriptId: script.script_id }}
              aria-current={script.script_id === scriptId ? "true" : undefined}
              className={ROW}
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
        )}
      </PagedList>
    </ListAndOne>
  );
}
