import type { Query, QueryClient } from "@tanstack/react-query";

/**
 * Asks anew for everything that is shown. What is just being asked for the first time is given up and asked for again:
 * else its answer, which may be older, would be taken for the new one.
 */
export async function refetchShown(client: QueryClient): Promise<void> {
  await client.cancelQueries({ predicate: (query) => repeatable(query) && query.state.data === undefined });
  await client.invalidateQueries({ predicate: repeatable });
}

/** What must not be asked for twice says so. */
function repeatable(query: Query): boolean {
  return query.meta?.keptThroughGaps !== true;
}
