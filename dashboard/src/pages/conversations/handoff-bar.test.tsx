import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { fireEvent, render, type RenderResult, screen } from "@testing-library/react";
import type { ReactElement } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { setSession } from "../../api/session.ts";
import type { Conversation, Session } from "../../api/types.ts";
import { HandoffBar } from "./handoff.tsx";
import { conversationKeys } from "./queries.ts";

let client: QueryClient;
let answers: (() => Response | Promise<Response>)[];
let asked: { mode: string; request_id: string }[];

beforeEach(() => {
  setSession({ user_id: "ana", role: "AGENT", csrf_token: "t" } as Session);
  client = new QueryClient();
  [answers, asked] = [[], []];
  vi.stubGlobal("fetch", async (request: Request) => {
    asked.push((await request.json()) as (typeof asked)[number]);
    return answers.shift()?.();
  });
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
});

function had(mode: "AI" | "HUMAN", time = "2026-11-29T10:00:00Z"): Conversation {
  const handoff = { mode, source: "ui", time, reason: "", actor: { principal: "user:ana", name: "Ana" } };
  return { conversation_id: "c", handoff } as Conversation;
}

function bar(conversation: Conversation): ReactElement {
  return (
    <QueryClientProvider client={client}>
      <HandoffBar conversation={conversation} />
    </QueryClientProvider>
  );
}

function show(conversation: Conversation): RenderResult {
  client.setQueryData(conversationKeys.one("c"), conversation);
  return render(bar(conversation));
}

test("a click whose answer was lost is the same intent when it is made again", async () => {
  answers = [() => Response.error(), () => Response.json(had("HUMAN"))];
  show(had("AI"));
  fireEvent.click(screen.getByRole("button", { name: "Take over" }));
  await screen.findByRole("alert");
  fireEvent.click(screen.getByRole("button", { name: "Take over" }));
  await vi.waitFor(() => {
    expect(client.getQueryData<Conversation>(conversationKeys.one("c"))?.handoff?.mode).toBe("HUMAN");
  });
  expect(asked.map((call) => call.mode)).toEqual(["HUMAN", "HUMAN"]);
  expect(asked[0]?.request_id).toBe(asked[1]?.request_id);
});

test("what was taken, with its answer lost, and then given back by somebody is taken anew", async () => {
  answers = [() => Response.error(), () => Response.json(had("HUMAN"))];
  const { rerender } = show(had("AI"));
  fireEvent.click(screen.getByRole("button", { name: "Take over" }));
  await screen.findByRole("alert");
  rerender(bar(had("HUMAN", "2026-11-29T10:00:01Z")));
  rerender(bar(had("AI", "2026-11-29T10:00:09Z")));
  fireEvent.click(screen.getByRole("button", { name: "Take over" }));
  await vi.waitFor(() => expect(asked).toHaveLength(2));
  expect(asked[0]?.request_id).not.toBe(asked[1]?.request_id);
});

test("two clicks ask once, and giving back is an intent of its own each time", async () => {
  const later = Promise.withResolvers<Response>();
  answers = [() => later.promise, () => Response.json(had("AI"))];
  show(had("HUMAN"));
  const button = screen.getByRole("button", { name: "Give back" });
  fireEvent.click(button);
  await vi.waitFor(() => expect(button.getAttribute("aria-busy")).toBe("true"));
  fireEvent.click(button);
  later.resolve(Response.json(had("AI")));
  await vi.waitFor(() => expect(button.getAttribute("aria-busy")).toBe("false"));
  expect(asked).toHaveLength(1);
  fireEvent.click(button);
  await vi.waitFor(() => expect(asked).toHaveLength(2));
  expect(asked[0]?.request_id).not.toBe(asked[1]?.request_id);
});

test("a viewer sees who has it, and has no button", () => {
  setSession({ user_id: "rui", role: "VIEWER", csrf_token: "t" } as Session);
  show(had("HUMAN"));
  expect(screen.getByText(/^Ana has it since/)).toBeDefined();
  expect(screen.queryByRole("button")).toBeNull();
});
