import { text } from "../texts/index.ts";
import { Button } from "./button.tsx";

/** Fetches a list's next page; nothing where there is none. */
export function More({ query }: { query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage(): unknown } }) {
  if (!query.hasNextPage) return null;
  return (
    <div className="flex justify-center p-3">
      <Button disabled={query.isFetchingNextPage} onClick={() => query.fetchNextPage()}>
        {query.isFetchingNextPage ? text("state.loading") : text("action.more")}
      </Button>
    </div>
  );
}
