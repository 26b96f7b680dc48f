import { expect, test } from "vitest";
import type { Delivery, Message } from "../../api/types.ts";
import { unansweredFailures, whyNotLeft } from "./delivery.tsx";

function ours(id: string, state: Message["state"], delivery: Partial<Delivery> = {}, more: Partial<Message> = {}): Message {
  return {
    message_id: id,
    text: id,
    direction: "OUTBOUND",
    state,
    error_message: "",
    delivery: { send_class: "PERSON", reason: "", explanation: "", retry_time: null, ...delivery },
    ...more,
  } as Message;
}

test("a person's message that did not arrive can be sent again, until somebody has said it again", () => {
  const failed = ours("Oi", "FAILED", { reason: "PROVIDER_REFUSED" });
  expect([...unansweredFailures([failed])]).toEqual(["Oi"]);
  expect([...unansweredFailures([failed, ours("b", "DELIVERED", {}, { text: "Oi" })])]).toEqual([]);
  const inbound = ours("c", "SENT", {}, { text: "Oi", direction: "INBOUND" });
  expect([...unansweredFailures([failed, inbound])]).toEqual(["Oi"]);
});

test.each<[string, Message]>([
  ["may have left", ours("a", "FAILED", { reason: "PROVIDER_SILENT" })],
  ["is uncertain", ours("a", "UNCERTAIN", { reason: "PROVIDER_SILENT" })],
  ["was automatic", ours("a", "FAILED", { send_class: "REPLY" })],
  ["was sent elsewhere", ours("a", "FAILED", {}, { delivery: null as unknown as Delivery })],
  ["was taken back", ours("a", "CANCELLED", { reason: "CANCELLED_BY_HAND" })],
  ["arrived", ours("a", "DELIVERED")],
])("what %s is not sent again", (_, message) => {
  expect(unansweredFailures([message]).size).toBe(0);
});

test.each<[string, Message]>([
  ["Refused on the way: No such inbox.", ours("a", "FAILED", { reason: "PROVIDER_REFUSED", explanation: "No such inbox." })],
  ["Refused on the way: Too long", ours("a", "FAILED", {}, { delivery: null as unknown as Delivery, error_message: "Too long" })],
  ["This number has no WhatsApp.", ours("a", "FAILED", { reason: "NUMBER_UNKNOWN", explanation: "…" })],
  ["This contact asked for no more messages.", ours("a", "SUPPRESSED", { reason: "SUPPRESSED" })],
  ["Something new.", ours("a", "QUEUED", { reason: "SOMETHING_NEW", explanation: "Something new." })],
  ["", ours("a", "SENT", { reason: "", explanation: "" })],
])("it says “%s”", (sentence, message) => {
  expect(whyNotLeft(message)).toBe(sentence);
});

test("what waits for a time says when", () => {
  const message = ours("a", "QUEUED", { reason: "GAP_NUMBER", retry_time: "2026-11-29T10:00:03Z" });
  expect(whyNotLeft(message)).toMatch(/^The number pauses between messages\. Next try at /);
});
