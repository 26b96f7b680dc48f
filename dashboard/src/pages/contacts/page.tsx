import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { Search } from "lucide-react";
import { useEffect, useState } from "react";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { ConnectNumber } from "../../ui/empty-actions.tsx";
import { ListAndOne, PagedList, ROW } from "../../ui/list.tsx";
import { Empty } from "../../ui/states.tsx";
import { contactsQuery, filterOf } from "./queries.ts";

/** How long after the last letter the search goes out. */
const TYPING_MS = 250;

/** The list, and one contact beside it; on a narrow screen one of the two. */
export function ContactsPage() {
  const { contactId } = useParams({ strict: false });
  const filter = useSearch({ from: "/shell/contacts" });
  const query = useInfiniteQuery(contactsQuery(filter));
  const narrowed = Boolean(filter.name || filter.phone);
  return (
    <ListAndOne title={text("contacts.title")} open={Boolean(contactId)} choose={text("contacts.choose")}>
      <div className="flex flex-col gap-2 border-b border-line p-3">
        <h1 className="font-semibold">{text("contacts.title")}</h1>
        <SearchField />
      </div>
      <PagedList
        query={query}
        label={text("contacts.list")}
        empty={
          <Empty
            sentence={text(narrowed ? "contacts.emptyFiltered" : "contacts.empty")}
            action={narrowed ? undefined : <ConnectNumber />}
          />
        }
      >
        {(contact) => (
          <li key={contact.contact_id} className="border-b border-line">
            <Link
              to="/contacts/$contactId"
              params={{ contactId: contact.contact_id }}
              search={(before) => before}
              aria-current={contact.contact_id === contactId ? "true" : undefined}
              className={ROW}
            >
              <bdi className="block truncate font-medium">{contact.name || text("contacts.nameless")}</bdi>
              <span className="block truncate text-sm text-soft">{contact.phone || contact.email}</span>
            </Link>
          </li>
        )}
      </PagedList>
    </ListAndOne>
  );
}

function SearchField() {
  const filter = useSearch({ from: "/shell/contacts" });
  const navigate = useNavigate({ from: "/contacts" });
  const [typed, setTyped] = useState(filter.name ?? filter.phone ?? "");
  const known = filter.name ?? filter.phone ?? "";
  useEffect(() => {
    if (typed.trim() === known) return undefined;
    const timer = setTimeout(() => void navigate({ to: "/contacts", search: filterOf(typed), replace: true }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed, known, navigate]);
  return (
    <div className="flex gap-2">
      <label className="flex min-h-9 flex-1 items-center gap-2 rounded-lg border border-edge bg-card px-2">
        <Search aria-hidden="true" className="size-4 text-soft" />
        <span className="sr-only">{text("contacts.search")}</span>
        <input
          type="search"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          placeholder={text("contacts.search")}
          maxLength={200}
          className="min-w-0 flex-1 bg-transparent py-1.5 placeholder:text-soft"
        />
      </label>
      {typed ? (
        <Button look="bare" onClick={() => setTyped("")}>
          {text("action.clear")}
        </Button>
      ) : null}
    </div>
  );
}
