import { dropTargetForElements } from "@atlaskit/pragmatic-drag-and-drop/element/adapter";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { itemsOf } from "../../api/pages.ts";
import type { Board, BoardTotals, Stage } from "../../api/types.ts";
import { money } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { Card } from "./card.tsx";
import { draggedDeal } from "./dragging.ts";
import { useMoveDeal } from "./moves.ts";
import { columnQuery } from "./queries.ts";

interface ColumnProps {
  board: Board;
  stage: Stage;
  /** Undefined until it is known. */
  total: BoardTotals["stages"][number] | undefined;
}

/** One stage with its deals; a card let go over it moves there. */
export function Column({ board, stage, total }: ColumnProps) {
  const query = useInfiniteQuery(columnQuery(board.board_id, stage.stage_id));
  const deals = itemsOf(query.data);
  const element = useRef<HTMLLIElement>(null);
  const [over, setOver] = useState(false);
  const move = useMoveDeal();
  useEffect(() => {
    if (!element.current) return undefined;
    return dropTargetForElements({
      element: element.current,
      canDrop: ({ source }) => draggedDeal(source.data)?.board_id === board.board_id,
      onDragEnter: () => setOver(true),
      onDragLeave: () => setOver(false),
      onDrop: ({ source }) => {
        setOver(false);
        const deal = draggedDeal(source.data);
        if (deal) move(deal, stage);
      },
    });
  }, [board.board_id, stage, move]);
  return (
    <li
      ref={element}
      data-stage={stage.label}
      className={classes(
        "flex h-full w-72 flex-col rounded-xl border bg-quiet",
        over ? "border-accent" : "border-line",
      )}
    >
      <h2 className="flex items-center gap-2 px-3 py-2 font-semibold">
        <span aria-hidden="true" className="size-2.5 shrink-0 rounded-full" style={{ background: stage.color }} />
        <span className="min-w-0 [overflow-wrap:anywhere]">{stage.label}</span>
        {total ? (
          <span className="ml-auto shrink-0 text-sm font-normal text-soft" data-count={total.deal_count}>
            {text("board.count", { count: total.deal_count })}
          </span>
        ) : null}
      </h2>
      {total && total.values.length > 0 ? (
        <p className="-mt-1 px-3 pb-2 text-sm text-soft">{total.values.map(money).join(" · ")}</p>
      ) : null}
      {query.isPending ? <Loading rows={3} /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && deals.length === 0 ? <p className="px-3 text-sm text-soft">{text("board.stageEmpty")}</p> : null}
      {deals.length > 0 ? (
        <Scroller label={stage.label} className="min-h-0 flex-1 overflow-y-auto px-2 pb-2">
          <ul className="flex flex-col gap-2">
            {deals.map((deal) => (
              <Card key={deal.deal_id} deal={deal} board={board} onMove={move} />
            ))}
          </ul>
          <More query={query} />
        </Scroller>
      ) : null}
    </li>
  );
}
