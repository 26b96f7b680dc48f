import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { fireEvent, render, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CallFailed } from "../../api/problems.ts";
import { setSession } from "../../api/session.ts";
import type { Message, Session } from "../../api/types.ts";
import { draftOf, keepDraft } from "./drafts.ts";
import { MessageBubble, PendingBubble } from "./message.tsx";
import { addPending, type Pending, pendingOf } from "./pending.ts";

let asked: string[];

beforeEach(() => {
  asked = [];
  setSession({ user_id: "ana", role: "AGENT", csrf_token: "t" } as Session);
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(new URL(request.url).pathname);
    return new Promise(() => undefined);
  });
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
});

function message(state: Message["state"], reason = ""): Message {
  return {
    message_id: "m",
    conversation_id: "c",
    direction: "OUTBOUND",
    author: "AGENT",
    author_name: "Ana",
    text: "Oi",
    attachments: [],
    submitted_values: [],
    reactions: [],
    state,
    error_message: "",
    create_time: "2026-11-29T10:00:00Z",
    delivery: { send_class: "PERSON", reason, explanation: "", retry_time: null },
  } as unknown as Message;
}

function show(bubble: ReactNode): void {
  render(<QueryClientProvider client={new QueryClient()}>{bubble}</QueryClientProvider>);
}

test.each<[Message["state"], string, string, string[]]>([
  ["QUEUED", "", "Waiting", ["Take it back"]],
  ["SENDING", "", "Sending", []],
  ["SENT", "", "Sent", []],
  ["DELIVERED", "", "Delivered", []],
  ["READ", "", "Read", []],
  ["UNCERTAIN", "PROVIDER_SILENT", "Unclear whether it left", ["Check now"]],
  ["FAILED", "NUMBER_UNKNOWN", "Not delivered", ["Send again"]],
  ["FAILED", "PROVIDER_SILENT", "Not delivered", []],
  ["SUPPRESSED", "SUPPRESSED", "Not sent", ["Send again"]],
  ["CANCELLED", "CANCELLED_BY_HAND", "Cancelled", []],
])("%s %s is named, with what can be done about it", (state, reason, name, actions) => {
  const again = ["FAILED", "SUPPRESSED"].includes(state) && reason !== "PROVIDER_SILENT";
  show(<MessageBubble message={message(state, reason)} again={again} />);
  expect(screen.getByText(name)).toBeDefined();
  expect(screen.queryAllByRole("button").map((button) => button.textContent)).toEqual(actions);
});

test("a viewer sees how far it is, and can do nothing about it", () => {
  setSession({ user_id: "rui", role: "VIEWER", csrf_token: "t" } as Session);
  show(<MessageBubble message={message("UNCERTAIN", "PROVIDER_SILENT")} again={false} />);
  expect(screen.queryByRole("button")).toBeNull();
});

test.each([
  ["UNCERTAIN", "Check now", "/api/v1/deliveries/m:check"],
  ["QUEUED", "Take it back", "/api/v1/deliveries/m:cancel"],
  ["FAILED", "Send again", "/api/v1/conversations/c/messages"],
] as const)("of what is %s, “%s” asks for it", async (state, action, path) => {
  show(<MessageBubble message={message(state, state === "FAILED" ? "NUMBER_UNKNOWN" : "")} again />);
  fireEvent.click(screen.getByRole("button", { name: action }));
  await vi.waitFor(() => expect(asked).toEqual([path]));
});

test("what was refused says why, and can be changed before it is sent anew", () => {
  const error = new CallFailed(400, { reason: "SUPPRESSED", detail: "" }, "");
  const refused: Pending = { requestId: "r", conversationId: "c", text: "Oi", time: "2026-11-29T10:00:00Z", state: "REFUSED", error };
  addPending(refused);
  keepDraft("c", "E amanhã?");
  show(<PendingBubble pending={refused} />);
  expect(screen.getByText("This contact asked for no more messages.")).toBeDefined();
  fireEvent.click(screen.getByRole("button", { name: "Change it" }));
  expect([draftOf("c"), pendingOf("r")]).toEqual(["Oi\nE amanhã?", undefined]);
});
