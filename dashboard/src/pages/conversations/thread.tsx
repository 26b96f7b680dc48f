import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { useMemo } from "react";
import { itemsOf } from "../../api/pages.ts";
import type { Conversation } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Badge } from "../../ui/badge.tsx";
import { SourceMark } from "../../ui/source.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { Composer } from "./composer.tsx";
import { MessageFlow } from "./flow.tsx";
import { HandoffBar } from "./handoff.tsx";
import { usePending } from "./pending.ts";
import { conversationQuery, messagesQuery } from "./queries.ts";

/** One conversation: who it is with, and what was said. */
export function ThreadRegion() {
  const { conversationId } = useParams({ from: "/shell/conversations/$conversationId" });
  const conversation = useQuery(conversationQuery(conversationId));
  // Another conversation begins at its own newest message.
  return (
    <section key={conversationId} aria-label={text("thread.label")} className="flex h-full flex-col">
      {conversation.isPending ? <Loading rows={1} /> : null}
      {conversation.isError && !conversation.data ? (
        <Failed error={conversation.error} onRetry={() => void conversation.refetch()} />
      ) : null}
      {conversation.data ? (
        <>
          <Header conversation={conversation.data} />
          <HandoffBar conversation={conversation.data} />
          <Messages conversationId={conversationId} />
          <Composer conversation={conversation.data} />
        </>
      ) : null}
    </section>
  );
}

function Header({ conversation }: { conversation: Conversation }) {
  return (
    <header className="flex flex-wrap items-center gap-x-3 gap-y-1 border-b border-line bg-card px-4 py-2">
      <Link
        to="/conversations"
        search={(before) => before}
        className="rounded-lg p-2 hover:bg-quiet md:hidden"
        aria-label={text("thread.back")}
      >
        <ArrowLeft aria-hidden="true" className="size-5" />
      </Link>
      <SourceMark source={conversation.source} />
      <h1 className="min-w-0 truncate font-semibold">
        {conversation.contact_id ? (
          <Link
            to="/contacts/$contactId"
            params={{ contactId: conversation.contact_id }}
            className="underline-offset-2 hover:underline"
          >
            <bdi>{conversation.contact_name || conversation.conversation_key}</bdi>
          </Link>
        ) : (
          <bdi>{conversation.contact_name || conversation.conversation_key}</bdi>
        )}
      </h1>
      <Badge>{text(`conversationState.${conversation.state}`)}</Badge>
      {conversation.internal ? <Badge>{text("conversations.internal")}</Badge> : null}
      {conversation.assignee_name ? (
        <span className="truncate text-sm text-soft">{text("thread.assignee", { name: conversation.assignee_name })}</span>
      ) : null}
      {conversation.labels.map((label) => (
        <Badge key={label}>{label}</Badge>
      ))}
    </header>
  );
}

function Messages({ conversationId }: { conversationId: string }) {
  const query = useInfiniteQuery(messagesQuery(conversationId));
  const messages = useMemo(() => itemsOf(query.data).toReversed(), [query.data]);
  const pending = usePending(conversationId);
  if (query.isPending) return <Loading className="flex-1" />;
  if (query.isError && !query.data) {
    return (
      <div className="flex-1">
        <Failed error={query.error} onRetry={() => void query.refetch()} />
      </div>
    );
  }
  if (messages.length + pending.length === 0) {
    return (
      <div className="flex-1">
        <Empty sentence={text("thread.empty")} />
      </div>
    );
  }
  return (
    <MessageFlow
      messages={messages}
      pending={pending}
      hasOlder={query.hasNextPage}
      loadingOlder={query.isFetchingNextPage}
      onOlder={() => void query.fetchNextPage()}
    />
  );
}
