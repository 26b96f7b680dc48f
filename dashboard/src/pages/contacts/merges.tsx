import { useInfiniteQuery } from "@tanstack/react-query";
import { itemsOf } from "../../api/pages.ts";
import { may, useSession } from "../../api/session.ts";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { More } from "../../ui/more.tsx";
import { Failed } from "../../ui/states.tsx";
import { mergesQuery, useUndoMerges } from "./merging.ts";

/** What was merged into a contact, and the way back; nothing where nothing was. */
export function Merges({ contactId, title }: { contactId: string; title: string }) {
  const session = useSession();
  const query = useInfiniteQuery(mergesQuery(contactId));
  const undo = useUndoMerges();
  const merges = itemsOf(query.data).filter((merge) => !merge.undo_time);
  if (query.isError && !query.data) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  if (merges.length === 0 && !query.hasNextPage) return null;
  return (
    <div>
      <h2 className="mb-2 font-semibold">{title}</h2>
      <ul className="flex flex-col gap-2">
        {merges.map((merge) => (
          <li
            key={merge.contact_merge_id}
            className="flex flex-wrap items-center gap-3 rounded-lg border border-line bg-card p-3"
          >
            <span className="min-w-0 flex-1">
              {text("merge.by", { name: merge.merged_by?.name ?? "", time: fullTime(merge.create_time) })}
            </span>
            {merge.undoable && may("AGENT", session) ? (
              <Button disabled={undo.isPending} onClick={() => undo.mutate([merge.contact_merge_id])}>
                {text("action.undo")}
              </Button>
            ) : null}
          </li>
        ))}
      </ul>
      <More query={query} />
    </div>
  );
}
