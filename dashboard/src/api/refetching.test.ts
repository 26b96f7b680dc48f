import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, test, vi } from "vitest";
import { refetchShown } from "./refetching.ts";

test("an answer that was asked for before is not taken for the one that is asked for now", async () => {
  const client = new QueryClient();
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  let asked = 0;
  const queryFn = (): Promise<string> | undefined => answers[(asked += 1) - 1]?.promise;
  const end = new QueryObserver(client, { queryKey: ["list"], queryFn: () => queryFn() ?? "" }).subscribe(() => undefined);
  await vi.waitFor(() => expect(asked).toBe(1));
  const done = refetchShown(client);
  await vi.waitFor(() => expect(asked).toBe(2));
  answers[0]?.resolve("old");
  answers[1]?.resolve("new");
  await done;
  expect(client.getQueryData(["list"])).toBe("new");
  end();
});
