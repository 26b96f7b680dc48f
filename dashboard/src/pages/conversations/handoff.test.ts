import { expect, test } from "vitest";
import type { Conversation, Session } from "../../api/types.ts";
import { whoHasIt } from "./handoff.tsx";

const NOW = new Date(2026, 10, 29, 15);
const ME = { user_id: "ana" } as Session;

function had(handoff: object): Conversation {
  const time = new Date(2026, 10, 29, 14, 30).toISOString();
  return { handoff: { mode: "HUMAN", source: "ui", time, reason: "", actor: null, ...handoff } } as Conversation;
}

test.each<[object, RegExp]>([
  [{ mode: "AI" }, /^Automation may answer\.$/],
  [{ actor: { principal: "user:ana", name: "ana@x.example" } }, /^Yours since .*2:30.*until you give it back\.$/],
  [{ actor: { principal: "user:bia", name: "bia@x.example" } }, /^bia@x\.example has it since .*silent until it is given back\.$/],
  [{ source: "webhook" }, /by a label in Chatwoot/],
  [{ source: "echo_ig" }, /Answered on the phone/],
  [{ source: "api" }, /^Somebody has it/],
])("of %o it says who and until when", (handoff, sentence) => {
  expect(whoHasIt(had(handoff), ME, NOW)).toMatch(sentence);
});
