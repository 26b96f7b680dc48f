import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { Search } from "lucide-react";
import { useEffect, useState } from "react";
import { itemsOf } from "../../api/pages.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { classes } from "../../ui/classes.ts";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { contactsQuery, filterOf } from "./queries.ts";

/** How long after the last letter the search goes out. */
const TYPING_MS = 250;

/** The list, and one contact beside it; on a narrow screen one of the two. */
export function ContactsPage() {
  const { contactId } = useParams({ strict: false });
  const filter = useSearch({ from: "/shell/contacts" });
  const query = useInfiniteQuery(contactsQuery(filter));
  const contacts = itemsOf(query.data);
  const narrowed = Boolean(filter.name || filter.phone);
  return (
    <div className="flex h-full">
      <section
        aria-label={text("contacts.title")}
        className={classes(
          "min-h-0 w-full flex-col border-line md:flex md:w-80 md:border-r lg:w-96",
          contactId ? "hidden" : "flex",
        )}
      >
        <div className="flex flex-col gap-2 border-b border-line p-3">
          <h1 className="font-semibold">{text("contacts.title")}</h1>
          <SearchField />
        </div>
        {query.isPending ? <Loading /> : null}
        {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
        {query.isSuccess && contacts.length === 0 ? (
          <Empty sentence={text(narrowed ? "contacts.emptyFiltered" : "contacts.empty")} />
        ) : null}
        {contacts.length > 0 ? (
          <Scroller label={text("contacts.list")} className="min-h-0 flex-1 overflow-y-auto">
            <ul>
              {contacts.map((contact) => (
                <li key={contact.contact_id} className="border-b border-line">
                  <Link
                    to="/contacts/$contactId"
                    params={{ contactId: contact.contact_id }}
                    search={(before) => before}
                    aria-current={contact.contact_id === contactId ? "true" : undefined}
                    className="block px-4 py-3 -outline-offset-2 hover:bg-quiet aria-[current]:bg-quiet"
                  >
                    <bdi className="block truncate font-medium">{contact.name || text("contacts.nameless")}</bdi>
                    <span className="block truncate text-sm text-soft">{contact.phone || contact.email}</span>
                  </Link>
                </li>
              ))}
            </ul>
            <More query={query} />
          </Scroller>
        ) : null}
      </section>
      <div className={classes("min-h-0 min-w-0 flex-1 md:block", contactId ? "block" : "hidden")}>
        {contactId ? (
          <Outlet />
        ) : (
          <p className="hidden h-full place-items-center text-soft md:grid">{text("contacts.choose")}</p>
        )}
      </div>
    </div>
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
