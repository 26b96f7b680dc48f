import { expect, test } from "vitest";
import type { Connection, Conversation, Instance, KillSwitch, Session } from "../../api/types.ts";
import { blocked, type Situation } from "./blocked.ts";

const FREE: Situation = {
  session: { role: "AGENT" } as Session,
  online: true,
  conversation: { conversation_key: "whatsapp:+5511900004821" } as Conversation,
  killSwitch: { engaged: false, engaged_globally: false, reason: "" } as KillSwitch,
  connection: { provider: "CHATWOOT", name: "Chatwoot", base_url: "https://chat.example.com", access_token_set: true } as Connection,
  instance: undefined,
};

test("nothing stands in the way, also while nothing is known yet", () => {
  expect(blocked(FREE)).toBeUndefined();
  expect(blocked({ ...FREE, killSwitch: undefined, connection: undefined })).toBeUndefined();
});

test.each<[string, Partial<Situation>, RegExp]>([
  ["a viewer", { session: { role: "VIEWER" } as Session }, /Ask an administrator/],
  ["no network", { online: false }, /no network/],
  ["the kill switch", { killSwitch: { engaged: true, reason: "Incident" } as KillSwitch }, /\(Incident\)\. An administrator/],
  [
    "the kill switch, to an administrator",
    { session: { role: "ADMIN" } as Session, killSwitch: { engaged: true, reason: "Incident" } as KillSwitch },
    /button above/,
  ],
  ["the installation's kill switch", { killSwitch: { engaged_globally: true } as KillSwitch }, /operator/],
  ["nobody known", { conversation: { conversation_key: "" } as Conversation }, /not known yet/],
  ["no token", { connection: { ...FREE.connection, access_token_set: false } as Connection }, /“Chatwoot”.*connection update/],
  ["no address", { connection: { ...FREE.connection, base_url: "" } as Connection }, /no address/],
])("%s is said with what helps", (_, change, sentence) => {
  expect(blocked({ ...FREE, ...change })?.sentence).toMatch(sentence);
});

function number(state: Instance["state"]): Situation {
  const connection = { provider: "EVOLUTION", name: "Recepção" } as Connection;
  return { ...FREE, connection, instance: { name: "Recepção", state } as Instance };
}

test("a number that is away leads to the numbers; one that is just connecting lets answers wait", () => {
  expect(blocked(number("CLOSED"))).toEqual({
    sentence: "The number “Recepção” cannot send: Disconnected.",
    cure: "numbers",
  });
  expect(blocked(number("OPEN"))).toBeUndefined();
  expect(blocked(number("CONNECTING"))).toBeUndefined();
});
