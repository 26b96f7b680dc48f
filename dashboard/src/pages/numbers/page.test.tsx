import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { setSession } from "../../api/session.ts";
import type { Session } from "../../api/types.ts";
import { NumbersPage } from "./page.tsx";
import { STATE_POLL_MS } from "./queries.ts";

const CODE_SECONDS = 45;

let state: string;
let codes: number;

// What a window is made of is here before time stands still.
beforeAll(() => import("../../ui/dialog-window.tsx"));

beforeEach(() => {
  [state, codes] = ["QR", 0];
  vi.useFakeTimers();
  setSession({ user_id: "ana", role: "OWNER", csrf_token: "t" } as Session);
  vi.stubGlobal("fetch", (request: Request) => Promise.resolve(Response.json(answer(new URL(request.url).pathname))));
});

afterEach(() => {
  setSession(null);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** What the API says; each asking for a code draws the next one. */
function answer(path: string): object {
  if (path === "/api/v1/instances") {
    const instance = { instance_id: "i", name: "Comercial", state, state_time: new Date().toISOString(), qr_count: 1 };
    return { instances: [instance], next_page_token: "" };
  }
  codes += 1;
  const expire_time = new Date(Date.now() + CODE_SECONDS * 1000).toISOString();
  return { instance_id: "i", qr_svg: `<svg id="${codes}"/>`, pairing_code: "", expire_time };
}

/** Lets time pass, and what is due then be done. */
function pass(ms: number): Promise<void> {
  return act(() => vi.advanceTimersByTimeAsync(ms).then(() => undefined));
}

function picture(): string {
  return decodeURIComponent(screen.getByAltText<HTMLImageElement>(/QR code/).src);
}

test("while a code is shown, the next one and the number's state are asked for, though no stream tells of them", async () => {
  render(
    <QueryClientProvider client={new QueryClient()}>
      <NumbersPage />
    </QueryClientProvider>,
  );
  await pass(0);
  fireEvent.click(screen.getByRole("button", { name: "Show QR code" }));
  await pass(1);
  await pass(1);
  expect(picture()).toContain('id="1"');
  await pass((CODE_SECONDS - 1) * 1000);
  expect(picture()).toContain('id="1"');
  await pass(2000);
  expect(picture()).toContain('id="2"');
  state = "OPEN";
  await pass(STATE_POLL_MS);
  expect(document.querySelector("[data-qr=OPEN]")?.textContent).toMatch(/Connected/);
});
