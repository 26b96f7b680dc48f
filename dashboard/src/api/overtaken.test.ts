import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Fact } from "./live.ts";
import { Overtaken } from "./overtaken.ts";

const KEY = ["things"];

let client: QueryClient;
let overtaken: Overtaken;
let answers: PromiseWithResolvers<string[]>[];
let again: number[];
let end: () => void;

function fact(position: number): Fact {
  return { type: "prosa.A", position, data: {} };
}

/** As a page applies a fact: what is shown already has one thing more. */
function apply({ position }: Fact): void {
  client.setQueryData<string[]>(KEY, (things) => things && [...things.filter((thing) => thing !== `${position}`), `${position}`]);
}

function tell(position: number): void {
  overtaken.note(fact(position));
  apply(fact(position));
}

beforeEach(() => {
  client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  [answers, again] = [[], []];
  overtaken = new Overtaken(client, (told) => {
    again.push(told.position);
    apply(told);
  });
  const queryFn = (): Promise<string[]> => {
    const answer = Promise.withResolvers<string[]>();
    answers.push(answer);
    return answer.promise;
  };
  end = new QueryObserver(client, { queryKey: KEY, queryFn }).subscribe(() => undefined);
});

afterEach(() => {
  overtaken.end();
  end();
});

async function answered(which: number, things: string[]): Promise<void> {
  answers[which]?.resolve(things);
  await vi.waitFor(() => expect(client.isFetching()).toBe(0));
}

test("what was told while the first answer was waited for is in what is shown", async () => {
  tell(1);
  tell(2);
  await answered(0, ["old"]);
  expect(client.getQueryData(KEY)).toEqual(["old", "1", "2"]);
});

test("an answer that was made before a fact does not take it back", async () => {
  await answered(0, ["old"]);
  tell(1);
  void client.invalidateQueries({ queryKey: KEY });
  tell(2);
  await answered(1, ["old", "1"]);
  expect(client.getQueryData(KEY)).toEqual(["old", "1", "2"]);
  expect(again).toEqual([2]);
});

test("nothing is applied again that no answer was waited for", async () => {
  await answered(0, []);
  tell(1);
  answers = [];
  void client.invalidateQueries({ queryKey: KEY });
  await answered(0, ["1"]);
  expect(again).toEqual([]);
});

test("a request that failed leaves nothing behind", async () => {
  tell(1);
  answers[0]?.reject(new Error("away"));
  await vi.waitFor(() => expect(client.isFetching()).toBe(0));
  void client.invalidateQueries({ queryKey: KEY });
  await answered(1, ["1"]);
  expect(again).toEqual([]);
});
