import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { Conversation } from "../../api/types.ts";
import { shortTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { Choice } from "../../ui/choice.tsx";
import { ConnectNumber } from "../../ui/empty-actions.tsx";
import { PagedList, ROW } from "../../ui/list.tsx";
import { SourceMark } from "../../ui/source.tsx";
import { Empty } from "../../ui/states.tsx";
import { useNow } from "../../ui/use-now.ts";
import { conversationsQuery } from "./queries.ts";
import { CONVERSATION_STATES } from "./states.ts";

const ALL = "ALL";

export function ConversationList({ selectedId }: { selectedId: string | undefined }) {
  const filter = useSearch({ from: "/shell/conversations" });
  const navigate = useNavigate({ from: "/conversations" });
  const query = useInfiniteQuery(conversationsQuery(filter));
  const narrowed = Boolean(filter.state || filter.contact_id);
  const everything = (): void => void navigate({ search: {}, replace: true });
  return (
    <>
      <div className="flex items-center gap-3 border-b border-line p-3">
        <h1 className="font-semibold">{text("conversations.title")}</h1>
        <Choice
          className="ml-auto w-40"
          label={text("conversations.state")}
          value={filter.state ?? ALL}
          options={[
            { value: ALL, label: text("conversations.stateAll") },
            ...CONVERSATION_STATES.map((value) => ({ value, label: text(`conversationState.${value}`) })),
          ]}
          onChange={(value) =>
            void navigate({
              search: (before) => ({
                ...before,
                state: CONVERSATION_STATES.find((state) => state === value),
              }),
              replace: true,
            })
          }
        />
      </div>
      <PagedList
        query={query}
        label={text("conversations.list")}
        empty={
          <Empty
            sentence={text(narrowed ? "conversations.emptyFiltered" : "conversations.empty")}
            action={narrowed ? <Button onClick={everything}>{text("action.clearFilters")}</Button> : <ConnectNumber />}
          />
        }
      >
        {(conversation) => (
          <Row
            key={conversation.conversation_id}
            conversation={conversation}
            selected={conversation.conversation_id === selectedId}
          />
        )}
      </PagedList>
    </>
  );
}

function Row({ conversation, selected }: { conversation: Conversation; selected: boolean }) {
  const now = useNow();
  return (
    <li className="border-b border-line [contain-intrinsic-size:auto_76px] [content-visibility:auto]">
      <Link
        to="/conversations/$conversationId"
        params={{ conversationId: conversation.conversation_id }}
        search={(before) => before}
        aria-current={selected ? "true" : undefined}
        className={ROW}
        data-conversation={conversation.conversation_id}
      >
        <span className="flex items-center gap-2">
          <SourceMark source={conversation.source} />
          <bdi className="min-w-0 truncate font-medium">{conversation.contact_name || conversation.conversation_key}</bdi>
          <time className="ml-auto shrink-0 text-xs text-soft" dateTime={conversation.last_message_time ?? undefined}>
            {shortTime(conversation.last_message_time, now)}
          </time>
        </span>
        <span className="mt-1 flex items-center gap-2">
          <bdi className="min-w-0 flex-1 truncate text-sm text-soft">
            {conversation.last_message_direction === "OUTBOUND" ? `${text("conversations.we")} ` : ""}
            {conversation.last_message_preview}
          </bdi>
          {conversation.internal ? <Badge>{text("conversations.internal")}</Badge> : null}
          {conversation.handoff?.mode === "HUMAN" ? <Badge tone="warn">{text("handoff.HUMAN")}</Badge> : null}
          {conversation.unread_count > 0 ? (
            <span className="min-w-5 rounded-full bg-accent px-1.5 text-center text-xs font-semibold text-on-accent">
              <span aria-hidden="true">{conversation.unread_count}</span>
              <span className="sr-only">{text("conversations.unread", { count: conversation.unread_count })}</span>
            </span>
          ) : null}
        </span>
      </Link>
    </li>
  );
}
