import { draggable } from "@atlaskit/pragmatic-drag-and-drop/element/adapter";
import { Menu } from "@base-ui/react/menu";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { ArrowRightLeft } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import type { Board, Deal, Stage } from "../../api/types.ts";
import { money, shortTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { useNow } from "../../ui/use-now.ts";
import { dragData } from "./dragging.ts";
import { boardKeys } from "./queries.ts";

interface CardProps {
  deal: Deal;
  board: Board;
  onMove: (deal: Deal, to: Stage) => void;
}

/** One deal; it is moved by dragging, or by the menu where a keyboard or a finger does it. */
export function Card({ deal, board, onMove }: CardProps) {
  const now = useNow();
  const element = useRef<HTMLLIElement>(null);
  const [dragging, setDragging] = useState(false);
  const movedBy = useQuery<string>({ queryKey: boardKeys.movedBy(deal.deal_id), enabled: false });
  useEffect(() => {
    if (!element.current) return undefined;
    return draggable({
      element: element.current,
      getInitialData: () => dragData(deal),
      onDragStart: () => setDragging(true),
      onDrop: () => setDragging(false),
    });
  }, [deal]);
  return (
    <li
      ref={element}
      data-deal={deal.deal_id}
      className={classes(
        "rounded-lg border border-line bg-card p-3 [contain-intrinsic-size:auto_72px] [content-visibility:auto]",
        dragging && "opacity-50",
      )}
    >
      <div className="flex items-start gap-2">
        <Link
          to="/contacts/$contactId"
          params={{ contactId: deal.contact_id }}
          className="min-w-0 flex-1 truncate font-medium underline-offset-2 hover:underline"
          draggable={false}
        >
          <bdi>{deal.title}</bdi>
        </Link>
        <MoveMenu deal={deal} board={board} onMove={onMove} />
      </div>
      {deal.ai_summary ? <p className="mt-1 line-clamp-2 text-sm text-soft">{deal.ai_summary}</p> : null}
      <p className="mt-1 flex justify-between gap-2 text-sm text-soft">
        <span>{deal.value ? money(deal.value) : ""}</span>
        {movedBy.data ? (
          <span className="truncate text-accent">{text("board.movedBy", { name: movedBy.data })}</span>
        ) : (
          <time dateTime={deal.create_time ?? undefined}>{shortTime(deal.create_time, now)}</time>
        )}
      </p>
    </li>
  );
}

function MoveMenu({ deal, board, onMove }: CardProps) {
  return (
    <Menu.Root modal={false}>
      <Menu.Trigger
        aria-label={text("board.moveTo", { deal: deal.title })}
        className="shrink-0 rounded p-1 text-soft hover:bg-quiet"
      >
        <ArrowRightLeft aria-hidden="true" className="size-4" />
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Positioner className="z-20" sideOffset={4} align="end">
          <Menu.Popup className="max-h-80 min-w-48 overflow-y-auto rounded-xl border border-line bg-card p-1 text-ink shadow-lg">
            {board.stages
              .filter((stage) => stage.stage_id !== deal.stage_id)
              .map((stage) => (
                <Menu.Item
                  key={stage.stage_id}
                  className="flex cursor-pointer items-center gap-2 rounded-lg px-3 py-2 data-highlighted:bg-quiet"
                  onClick={() => onMove(deal, stage)}
                >
                  <span aria-hidden="true" className="size-2.5 rounded-full" style={{ background: stage.color }} />
                  {stage.label}
                </Menu.Item>
              ))}
          </Menu.Popup>
        </Menu.Positioner>
      </Menu.Portal>
    </Menu.Root>
  );
}
