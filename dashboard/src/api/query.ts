import { QueryClient } from "@tanstack/react-query";
import { worthRetrying } from "./problems.ts";
import { onSessionChange, session } from "./session.ts";

const RETRIES_MAX = 2;
/** The live stream keeps what is shown true; this is only for what it does not tell. */
const FRESH_MS = 30_000;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: FRESH_MS,
      retry: (failures, error) => failures < RETRIES_MAX && worthRetrying(error),
    },
    mutations: { retry: false },
  },
});

// Nothing of one person is left for the next one at the same screen.
onSessionChange(() => {
  if (!session()) queryClient.clear();
});
