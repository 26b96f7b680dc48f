import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { setSession } from "../../api/session.ts";
import type { Session } from "../../api/types.ts";
import { TeamPage } from "./page.tsx";

const ABOVE = "chefe@example.com";
const members = [
  { user_id: "ana", email: "ana@example.com", role: "ADMIN", etag: "1" },
  { user_id: "rui", email: "rui@example.com", role: "AGENT", etag: "7" },
  { user_id: "boss", email: ABOVE, role: "OWNER", etag: "1" },
];
let sent: { method: string; path: string; body: unknown }[];

// What a window is made of is here before anybody waits for it.
beforeAll(() => import("../../ui/dialog-window.tsx"));

beforeEach(() => {
  sent = [];
  setSession({ user_id: "ana", role: "ADMIN", csrf_token: "t" } as Session);
  vi.stubGlobal("fetch", async (request: Request) => {
    const path = new URL(request.url).pathname;
    if (request.method === "GET") return Response.json(path.endsWith("members") ? { members } : { invitations: [] });
    sent.push({ method: request.method, path, body: await request.text() });
    return Response.json({});
  });
  render(
    <QueryClientProvider client={new QueryClient()}>
      <TeamPage />
    </QueryClientProvider>,
  );
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
});

test("a role is changed for the member as it was read, and of nobody above one's own or oneself", async () => {
  const choice = await screen.findByLabelText("Role of rui@example.com");
  expect(screen.queryByLabelText(`Role of ${ABOVE}`)).toBeNull();
  expect(screen.queryByLabelText("Role of ana@example.com")).toBeNull();
  fireEvent.change(choice, { target: { value: "VIEWER" } });
  await waitFor(() => expect(sent).toHaveLength(1));
  expect(sent[0]).toMatchObject({ method: "PATCH", path: "/api/v1/members/rui" });
  expect(JSON.parse(String(sent[0]?.body))).toMatchObject({ role: "VIEWER", etag: "7" });
});

test("nobody is removed before it was said twice", async () => {
  fireEvent.click(await screen.findByRole("button", { name: "Remove" }));
  await screen.findByText("Remove rui@example.com?");
  expect(sent).toEqual([]);
  const [, second] = screen.getAllByRole("button", { name: "Remove", hidden: true });
  fireEvent.click(second as HTMLElement);
  await waitFor(() => expect(sent).toEqual([{ method: "DELETE", path: "/api/v1/members/rui", body: "" }]));
});
