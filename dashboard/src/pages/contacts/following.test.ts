import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FOLLOWED_MS, refetchContacts } from "./following.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test("after merges all is asked for at once, and once more when the others have followed the last of them", async () => {
  const client = new QueryClient();
  let asked = 0;
  const shown = new QueryObserver(client, { queryKey: ["deals"], queryFn: () => Promise.resolve((asked += 1)) });
  const kept = new QueryObserver(client, {
    queryKey: ["kept"],
    queryFn: () => Promise.reject(new Error("asked twice")),
    initialData: 1,
    staleTime: Number.POSITIVE_INFINITY,
    meta: { keptThroughGaps: true },
  });
  const ends = [shown.subscribe(() => undefined), kept.subscribe(() => undefined)];
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toBe(1);
  refetchContacts(client);
  await vi.advanceTimersByTimeAsync(FOLLOWED_MS - 1);
  expect(asked).toBe(2);
  refetchContacts(client);
  await vi.advanceTimersByTimeAsync(FOLLOWED_MS - 1);
  expect(asked).toBe(3);
  await vi.advanceTimersByTimeAsync(1);
  expect([asked, kept.getCurrentResult().isError]).toEqual([4, false]);
  for (const end of ends) end();
});
