import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { type ReactNode, useState } from "react";
import { itemsOf } from "../../api/pages.ts";
import { may, useSession } from "../../api/session.ts";
import type { Contact } from "../../api/types.ts";
import { fullTime, money, shortTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { SourceMark } from "../../ui/source.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { useNow } from "../../ui/use-now.ts";
import { conversationsQuery } from "../conversations/queries.ts";
import { MergeDialog } from "./merge-dialog.tsx";
import { Merges } from "./merges.tsx";
import { contactDealsQuery, contactQuery } from "./queries.ts";

/** One contact: how to reach it, what it talks about, what it may buy. */
export function ContactRegion() {
  const { contactId } = useParams({ from: "/shell/contacts/$contactId" });
  const query = useQuery(contactQuery(contactId));
  return (
    <Scroller label={text("contact.label")} className="h-full overflow-y-auto">
      <Link
        to="/contacts"
        search={(before) => before}
        className="m-2 inline-flex rounded-lg p-2 hover:bg-quiet md:hidden"
        aria-label={text("contact.back")}
      >
        <ArrowLeft aria-hidden="true" className="size-5" />
      </Link>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.data ? <Whole contact={query.data} /> : null}
    </Scroller>
  );
}

function Whole({ contact }: { contact: Contact }) {
  const session = useSession();
  const [merging, setMerging] = useState(false);
  return (
    <div className="flex flex-col gap-6 p-4 md:p-6">
      <div className="flex flex-wrap items-start gap-x-3 gap-y-1">
        <h1 className="min-w-0 flex-1 text-2xl font-bold [overflow-wrap:anywhere]">
          <bdi>{contact.name || text("contacts.nameless")}</bdi>
        </h1>
        {may("AGENT", session) ? (
          <Button className="shrink-0" onClick={() => setMerging(true)}>
            {text("merge.open")}
          </Button>
        ) : null}
        {merging ? <MergeDialog contact={contact} onClose={() => setMerging(false)} /> : null}
        <p className="w-full text-sm text-soft">{text("contact.since", { time: fullTime(contact.create_time) })}</p>
        {contact.tags.length > 0 ? (
          <p className="mt-1 flex w-full flex-wrap gap-1">
            {contact.tags.map((tag) => (
              <Badge key={tag}>{tag}</Badge>
            ))}
          </p>
        ) : null}
      </div>
      <Part title={text("contact.reach")}>
        <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-4 gap-y-1 [overflow-wrap:anywhere]">
          {contact.phone ? <Fact name={text("contact.phone")}>{contact.phone}</Fact> : null}
          {contact.email ? <Fact name={text("contact.email")}>{contact.email}</Fact> : null}
          {contact.identities.map((identity) => (
            <Fact key={identity.contact_identity_id} name={<SourceMark source={identity.source} />}>
              <bdi>{identity.username ? `@${identity.username} · ${identity.external_id}` : identity.external_id}</bdi>
            </Fact>
          ))}
        </dl>
      </Part>
      <Conversations contactId={contact.contact_id} />
      <Deals contactId={contact.contact_id} />
      <Merges contactId={contact.contact_id} title={text("contact.merges")} />
    </div>
  );
}

function Conversations({ contactId }: { contactId: string }) {
  const query = useInfiniteQuery(conversationsQuery({ contact_id: contactId }));
  const now = useNow();
  const conversations = itemsOf(query.data);
  return (
    <Part title={text("contact.conversations")}>
      {query.isPending ? <Loading rows={1} className="!p-0" /> : null}
      {query.isError ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && conversations.length === 0 ? (
        <p className="text-soft">{text("contact.noConversations")}</p>
      ) : null}
      <ul className="flex flex-col gap-2">
        {conversations.map((conversation) => (
          <li key={conversation.conversation_id}>
            <Link
              to="/conversations/$conversationId"
              params={{ conversationId: conversation.conversation_id }}
              className="flex items-center gap-2 rounded-lg border border-line bg-card p-3 hover:border-edge"
            >
              <SourceMark source={conversation.source} />
              <bdi className="min-w-0 flex-1 truncate">{conversation.last_message_preview}</bdi>
              <span className="shrink-0 text-xs text-soft">{shortTime(conversation.last_message_time, now)}</span>
            </Link>
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Deals({ contactId }: { contactId: string }) {
  const query = useQuery(contactDealsQuery(contactId));
  return (
    <Part title={text("contact.deals")}>
      {query.isPending ? <Loading rows={1} className="!p-0" /> : null}
      {query.isError ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.data?.length === 0 ? <p className="text-soft">{text("contact.noDeals")}</p> : null}
      <ul className="flex flex-col gap-2">
        {query.data?.map((deal) => (
          <li key={deal.deal_id}>
            <Link
              to="/board"
              search={{ board: deal.board_id }}
              className="flex items-center gap-2 rounded-lg border border-line bg-card p-3 hover:border-edge"
            >
              <bdi className="min-w-0 flex-1 truncate">{deal.title}</bdi>
              {deal.value ? <span>{money(deal.value)}</span> : null}
              <Badge tone={deal.state === "WON" ? "good" : deal.state === "LOST" ? "bad" : "plain"}>
                {text(`dealState.${deal.state}`)}
              </Badge>
            </Link>
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <h2 className="mb-2 font-semibold">{title}</h2>
      {children}
    </div>
  );
}

function Fact({ name, children }: { name: ReactNode; children: ReactNode }) {
  return (
    <>
      <dt className="text-soft">{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
