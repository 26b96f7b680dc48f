import type { InfiniteData } from "@tanstack/react-query";

/** A list as it was fetched: pages of items, each with the token of the next. */
export interface Page<T> {
  items: T[];
  nextPageToken: string;
}
export type Paged<T> = InfiniteData<Page<T>>;

export function itemsOf<T>(paged: Paged<T> | undefined): T[] {
  return paged?.pages.flatMap((page) => page.items) ?? [];
}

/** Answers the list with one item changed; the very same list where it is not in it. */
export function changeItem<T>(paged: Paged<T>, same: (item: T) => boolean, change: (item: T) => T): Paged<T> {
  if (!paged.pages.some((page) => page.items.some(same))) return paged;
  const pages = paged.pages.map((page) => ({
    ...page,
    items: page.items.map((item) => (same(item) ? change(item) : item)),
  }));
  return { ...paged, pages };
}

/** Answers the list with the item at its top, and nowhere else. */
export function raiseItem<T>(paged: Paged<T>, same: (item: T) => boolean, item: T): Paged<T> {
  const pages = paged.pages.map((page, index) => {
    const others = page.items.filter((other) => !same(other));
    return { ...page, items: index === 0 ? [item, ...others] : others };
  });
  return { ...paged, pages };
}

/** Answers the list with a new item before the first one that comes after it; what lies beyond the fetched pages waits. */
export function insertItem<T>(paged: Paged<T>, item: T, comesAfter: (other: T) => boolean): Paged<T> {
  for (const [index, page] of paged.pages.entries()) {
    const at = page.items.findIndex(comesAfter);
    if (at >= 0) return { ...paged, pages: paged.pages.with(index, { ...page, items: page.items.toSpliced(at, 0, item) }) };
  }
  const last = paged.pages.at(-1);
  // It comes with the page that nobody has asked for yet.
  if (!last || last.nextPageToken) return paged;
  return { ...paged, pages: paged.pages.with(paged.pages.length - 1, { ...last, items: [...last.items, item] }) };
}

export function dropItem<T>(paged: Paged<T>, same: (item: T) => boolean): Paged<T> {
  if (!paged.pages.some((page) => page.items.some(same))) return paged;
  const pages = paged.pages.map((page) => ({ ...page, items: page.items.filter((item) => !same(item)) }));
  return { ...paged, pages };
}
