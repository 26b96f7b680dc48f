import { Outlet } from "@tanstack/react-router";
import type { UseInfiniteQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { itemsOf, type Paged } from "../api/pages.ts";
import { classes } from "./classes.ts";
import { More } from "./more.tsx";
import { Scroller } from "./scroller.tsx";
import { Failed, Loading } from "./states.tsx";

/** How a list's row looks that leads to the one beside it. */
export const ROW = "block px-4 py-3 -outline-offset-2 hover:bg-quiet aria-[current]:bg-quiet";

interface ListAndOneProps {
  title: string;
  /** Whether one is open, which the route's outlet draws. */
  open: boolean;
  /** What stands in its place where none is. */
  choose: string;
  children: ReactNode;
}

/** A list, and one of it beside it; on a narrow screen one of the two. */
export function ListAndOne({ title, open, choose, children }: ListAndOneProps) {
  return (
    <div className="flex h-full">
      <section
        aria-label={title}
        className={classes("min-h-0 w-full flex-col border-line md:flex md:w-80 md:border-r lg:w-96", open ? "hidden" : "flex")}
      >
        {children}
      </section>
      <div className={classes("min-h-0 min-w-0 flex-1 md:block", open ? "block" : "hidden")}>
        {open ? <Outlet /> : <p className="hidden h-full place-items-center text-soft md:grid">{choose}</p>}
      </div>
    </div>
  );
}

interface PagedListProps<T> {
  query: UseInfiniteQueryResult<Paged<T>>;
  label: string;
  /** What is shown where there is nothing. */
  empty: ReactNode;
  className?: string;
  /** Draws one item, as a list's element with a key. */
  children: (item: T) => ReactNode;
}

/** What a paged query brought, and what is said while it brought nothing. */
export function PagedList<T>({ query, label, empty, className, children }: PagedListProps<T>) {
  const items = itemsOf(query.data);
  return (
    <>
      {query.isPending ? <Loading /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && items.length === 0 ? empty : null}
      {items.length > 0 ? (
        <Scroller label={label} className="min-h-0 flex-1 overflow-y-auto">
          <ul className={className}>{items.map(children)}</ul>
          <More query={query} />
        </Scroller>
      ) : null}
    </>
  );
}
