import { QueryClient } from "@tanstack/react-query";
import { beforeEach, expect, test } from "vitest";
import { itemsOf, type Paged } from "../../api/pages.ts";
import type { Round, Script } from "../../api/types.ts";
import { applyScriptFact } from "./facts.ts";
import { scriptKeys } from "./queries.ts";

let client: QueryClient;
beforeEach(() => {
  client = new QueryClient();
  client.setQueryData<Paged<Script>>(scriptKeys.list, paged([{ script_id: "s", name: "Lojas" } as Script]));
  client.setQueryData<Paged<Round>>(scriptKeys.rounds("s"), paged([round("1", "DONE")]));
});

function paged<T>(items: T[]): Paged<T> {
  return { pages: [{ items, nextPageToken: "" }], pageParams: [""] };
}

function round(id: string, state: Round["state"], sent = 0): Round {
  return { round_id: id, script_id: "s", state, sent_count: sent } as Round;
}

function tell(type: string, data: Record<string, unknown>): void {
  expect(applyScriptFact(client, { type: `prosa.conversation.v1.${type}`, position: 1, data })).toBe(true);
}

function rounds(): [string, string, number][] {
  const shown = itemsOf(client.getQueryData<Paged<Round>>(scriptKeys.rounds("s")));
  return shown.map((each) => [each.round_id, each.state, each.sent_count]);
}

test("a round comes to the list when it begins, once, and is followed to its end", () => {
  tell("RoundChanged", { round: round("2", "PLANNED") });
  expect(rounds()).toEqual([["1", "DONE", 0]]);
  tell("RoundChanged", { round: round("2", "RUNNING") });
  expect(client.getQueryState(scriptKeys.list)?.isInvalidated).toBe(true);
  tell("RoundChanged", { round: round("2", "RUNNING", 1) });
  tell("RoundChanged", { round: round("2", "DONE", 4) });
  expect(rounds()).toEqual([
    ["2", "DONE", 4],
    ["1", "DONE", 0],
  ]);
});

test("what is said in a round that is looked at is shown at once", () => {
  client.setQueryData(scriptKeys.round("1"), round("1", "RUNNING"));
  tell("RoundChanged", { round: { ...round("1", "RUNNING", 1), messages: [{ text: "Oi" }] } });
  expect(client.getQueryData<Round>(scriptKeys.round("1"))?.messages).toEqual([{ text: "Oi" }]);
});

test("a script that is paused is paused where it is listed, and a new one is listed", () => {
  tell("ScriptChanged", { script: { script_id: "s", name: "Lojas", state: "PAUSED" } });
  tell("ScriptChanged", { script: { script_id: "t", name: "Filiais", state: "ACTIVE" } });
  const shown = itemsOf(client.getQueryData<Paged<Script>>(scriptKeys.list));
  expect(shown.map((each) => [each.name, each.state])).toEqual([
    ["Filiais", "ACTIVE"],
    ["Lojas", "PAUSED"],
  ]);
});

test("facts of other kinds are left to others", () => {
  expect(applyScriptFact(client, { type: "prosa.crm.v1.DealMoved", position: 1, data: {} })).toBe(false);
});

test("a round that waits says why where it is listed", () => {
  client.setQueryData<Paged<Round>>(scriptKeys.rounds("s"), paged([round("1", "PLANNED")]));
  tell("RoundChanged", { round: { ...round("1", "PLANNED"), reason: "NUMBER_NOT_CONNECTED" } });
  expect(itemsOf(client.getQueryData<Paged<Round>>(scriptKeys.rounds("s"))).map((each) => each.reason)).toEqual([
    "NUMBER_NOT_CONNECTED",
  ]);
});
