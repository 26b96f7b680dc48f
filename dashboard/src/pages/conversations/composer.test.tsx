import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { setSession } from "../../api/session.ts";
import type { Conversation, Session } from "../../api/types.ts";
import { Composer, lettersOf, TEXT_LENGTH_MAX } from "./composer.tsx";
import { draftOf } from "./drafts.ts";

let sent: string[];

beforeEach(() => {
  sent = [];
  setSession({ user_id: "ana", role: "AGENT", csrf_token: "t" } as Session);
  vi.stubGlobal("fetch", async (request: Request) => {
    if (request.method === "POST") sent.push(((await request.json()) as { text: string }).text);
    return new Promise(() => undefined);
  });
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
});

function conversation(id: string): Conversation {
  return { conversation_id: id, connection_id: "x", conversation_key: "whatsapp:+5511900004821", handoff: { mode: "AI" } } as Conversation;
}

function composer(id = "c") {
  return (
    <QueryClientProvider client={new QueryClient()}>
      <Composer conversation={conversation(id)} />
    </QueryClientProvider>
  );
}

function field(): HTMLTextAreaElement {
  return screen.getByRole("textbox", { name: "Answer" });
}

function type(typed: string): void {
  fireEvent.change(field(), { target: { value: typed } });
}

function button(): HTMLButtonElement {
  return screen.getByRole("button", { name: "Send" });
}

test("Enter sends once, and leaves the field empty and ready", async () => {
  render(composer());
  type("Tem sim!");
  fireEvent.keyDown(field(), { key: "Enter" });
  fireEvent.keyDown(field(), { key: "Enter", repeat: true });
  fireEvent.keyDown(field(), { key: "Enter" });
  await vi.waitFor(() => expect(sent).toEqual(["Tem sim!"]));
  expect(field().value).toBe("");
  expect(document.activeElement).toBe(field());
});

test("Shift and Enter begin a line, and an input method ends its word, without sending", () => {
  render(composer());
  type("Tem");
  expect(fireEvent.keyDown(field(), { key: "Enter", shiftKey: true })).toBe(true);
  expect(fireEvent.keyDown(field(), { key: "Enter", isComposing: true })).toBe(true);
  expect(draftOf("c")).toBe("Tem");
});

test("each conversation keeps its own draft", () => {
  const { rerender } = render(composer("c"));
  type("Para a Ana");
  rerender(composer("d"));
  expect(field().value).toBe("");
  type("Para o Rui");
  rerender(composer("c"));
  expect(field().value).toBe("Para a Ana");
});

test("near the limit it counts, and over it nothing is sent and nothing is cut", () => {
  render(composer());
  type("a".repeat(TEXT_LENGTH_MAX - 201));
  expect(screen.queryByText(/letter/)).toBeNull();
  type("a".repeat(TEXT_LENGTH_MAX - 1));
  expect(screen.getByText("1 letter left")).toBeDefined();
  type("a".repeat(TEXT_LENGTH_MAX + 2));
  expect(screen.getByText("2 letters too many")).toBeDefined();
  expect(button().disabled).toBe(true);
  fireEvent.keyDown(field(), { key: "Enter" });
  expect(draftOf("c")).toHaveLength(TEXT_LENGTH_MAX + 2);
});

test("letters are counted as the server counts them", () => {
  expect(lettersOf(" 👍🏽é ")).toBe(3);
});

test("without a network what is typed stays, and the reason is said", () => {
  vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
  render(composer());
  type("Tem sim!");
  expect(screen.getByRole("alert").textContent).toMatch(/no network/);
  fireEvent.keyDown(field(), { key: "Enter" });
  expect([sent, draftOf("c"), button().disabled]).toEqual([[], "Tem sim!", true]);
  vi.restoreAllMocks();
});

test("a viewer is told whom to ask, and has no field", () => {
  setSession({ user_id: "rui", role: "VIEWER", csrf_token: "t" } as Session);
  render(composer());
  expect(screen.queryByRole("textbox")).toBeNull();
  expect(screen.getByText(/Ask an administrator/)).toBeDefined();
});
