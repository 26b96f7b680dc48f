import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef } from "react";
import type { Message } from "../../api/types.ts";
import { dayName } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { useNow } from "../../ui/use-now.ts";
import { unansweredFailures } from "./delivery.tsx";
import { MessageBubble, PendingBubble } from "./message.tsx";
import type { Pending } from "./pending.ts";

interface FlowProps {
  /** Oldest first. */
  messages: Message[];
  /** What was sent from here and is no message yet; it stands below them. */
  pending: Pending[];
  hasOlder: boolean;
  loadingOlder: boolean;
  onOlder: () => void;
}

const ROW_PX = 72;
/** So near to the end, the reader wants to see what comes. */
const NEAR_END_PX = 120;
const NEAR_BEGINNING_PX = 300;
/** More rows beyond the visible ones; with them at most some 60 are in the page. */
const OVERSCAN = 8;

/** A thread that stands at its newest message and stays there, unless its reader has gone up. */
export function MessageFlow({ messages, pending, hasOlder, loadingOlder, onOlder }: FlowProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const now = useNow();
  const again = useMemo(() => unansweredFailures(messages), [messages]);
  const count = messages.length + pending.length;
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    getItemKey: (index) => messages[index]?.message_id ?? pending[index - messages.length]?.requestId ?? index,
    overscan: OVERSCAN,
    // What is added above moves nothing that is read; what comes below is followed by who stands at the end.
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: NEAR_END_PX,
  });
  const height = virtual.getTotalSize();

  const last = useRef(0);
  last.current = count - 1;
  const sent = pending.at(-1)?.requestId;
  // Whoever has just sent something wants to see it, wherever they have read.
  useLayoutEffect(() => {
    virtual.scrollToIndex(last.current, { align: "end" });
  }, [virtual, sent]);

  useEffect(() => {
    const element = scroller.current;
    if (element && hasOlder && !loadingOlder && element.scrollTop < NEAR_BEGINNING_PX) onOlder();
  }, [hasOlder, loadingOlder, onOlder, height]);

  function onScroll(): void {
    const element = scroller.current;
    if (element && hasOlder && !loadingOlder && element.scrollTop < NEAR_BEGINNING_PX) onOlder();
  }

  return (
    <div
      ref={scroller}
      onScroll={onScroll}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keyboard
      tabIndex={0}
      role="log"
      aria-label={text("thread.messages")}
      className="min-h-0 flex-1 overflow-y-auto px-4 -outline-offset-2"
    >
      {loadingOlder ? <p className="p-2 text-center text-sm text-soft">{text("state.loading")}</p> : null}
      <div className="relative w-full" style={{ height }}>
        {virtual.getVirtualItems().map((row) => {
          const message = messages[row.index];
          const waiting = pending[row.index - messages.length];
          return (
            <div
              key={row.key}
              ref={virtual.measureElement}
              data-index={row.index}
              className="absolute inset-x-0 top-0 pb-2"
              style={{ transform: `translateY(${row.start}px)` }}
            >
              {message?.create_time && beginsDay(messages, row.index) ? (
                <p className="py-3 text-center text-xs text-soft">{dayName(message.create_time, now)}</p>
              ) : null}
              {message ? <MessageBubble message={message} again={again.has(message.message_id)} /> : null}
              {waiting ? <PendingBubble pending={waiting} /> : null}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function beginsDay(messages: Message[], index: number): boolean {
  const before = messages[index - 1];
  return !before || day(before) !== day(messages[index]);
}

function day(message: Message | undefined): string {
  return message?.create_time ? new Date(message.create_time).toDateString() : "";
}
