import type { QueryClient } from "@tanstack/react-query";
import { refetchShown } from "../../api/refetching.ts";

/** By then the services that name contacts have followed a merge; identity alone shows it at once. */
export const FOLLOWED_MS = 2_000;

const waiting = new WeakMap<QueryClient, ReturnType<typeof setTimeout>>();

/** Asks for everything that may name a contact: now, and once more when all who name contacts have followed. */
export function refetchContacts(client: QueryClient): void {
  void refetchShown(client);
  // Of several merges in a row the last one is waited for.
  clearTimeout(waiting.get(client));
  waiting.set(client, setTimeout(() => void refetchShown(client), FOLLOWED_MS));
}
