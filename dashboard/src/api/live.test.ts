import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Fact, follow } from "./live.ts";
import { session, setSession } from "./session.ts";
import type { Session } from "./types.ts";

/** What the server answers, call by call; the last call hangs until the test ends. */
let answers: ((signal: AbortSignal) => Response)[];
let asked: { position: string | null }[];
let facts: number[];
let gaps: number;
let ending: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  setSession({ csrf_token: "t" } as Session);
  [answers, asked, facts, gaps, ending] = [[], [], [], 0, new AbortController()];
  vi.stubGlobal("fetch", (_: string, init: RequestInit) => {
    asked.push({ position: new Headers(init.headers).get("Last-Event-ID") });
    const answer = answers.shift();
    if (answer) return Promise.resolve(answer(init.signal as AbortSignal));
    return new Promise((_, refuse) => init.signal?.addEventListener("abort", () => refuse(new Error("aborted"))));
  });
});

afterEach(() => {
  ending.abort();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function fact(position: number): string {
  return `id: ${position}\nevent: prosa.A\ndata: ${JSON.stringify({ type: "prosa.A", position, data: {} })}\n\n`;
}

function stream(...events: string[]): () => Response {
  return () => new Response(events.join(""), { headers: { "Content-Type": "text/event-stream" } });
}

async function followUntil(done: () => boolean): Promise<void> {
  const follower = { onFact: (told: Fact) => facts.push(told.position), onGap: () => (gaps += 1) };
  void follow(follower, ending.signal);
  await vi.waitFor(async () => {
    await vi.advanceTimersByTimeAsync(5_000);
    expect(done()).toBe(true);
  });
}

test("after a break it goes on where it was, and asks for nothing that it has seen", async () => {
  answers = [stream("id: 4\n\n", fact(5), fact(6)), () => Response.error(), stream(fact(7))];
  await followUntil(() => asked.length === 4);
  expect(facts).toEqual([5, 6, 7]);
  expect(asked.map((call) => call.position)).toEqual([null, "6", "6", "7"]);
  expect(gaps).toBe(1);
});

test("a stream that begins is asked beside only once it has said where it stands", async () => {
  const later = Promise.withResolvers<string>();
  const body = new ReadableStream<string>({
    async pull(controller) {
      controller.enqueue(await later.promise);
      controller.close();
    },
  });
  answers = [() => new Response(body.pipeThrough(new TextEncoderStream()))];
  const begun = followUntil(() => facts.length === 1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([asked.length, gaps]).toEqual([1, 0]);
  later.resolve(fact(5));
  await begun;
  expect(gaps).toBe(1);
});

test("what the server no longer keeps is a gap: everything is asked for anew", async () => {
  answers = [stream(fact(5)), stream("id:\nevent: problem\ndata: {}\n\n"), stream(fact(90))];
  await followUntil(() => asked.length === 4);
  expect(asked.map((call) => call.position)).toEqual([null, "5", null, "90"]);
  expect(facts).toEqual([5, 90]);
  expect(gaps).toBe(2);
});

test("a connection that shows no sign of life is given up", async () => {
  answers = [(signal) => new Response(silentUntil(signal)), stream(fact(5))];
  await followUntil(() => asked.length === 3);
  expect(facts).toEqual([5]);
});

/** A body that says nothing, and breaks as a fetch's does when it is aborted. */
function silentUntil(signal: AbortSignal): ReadableStream {
  return new ReadableStream({
    start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
  });
}

test("a session that has ended is told, and nobody follows on", async () => {
  answers = [() => new Response("{}", { status: 401 })];
  await followUntil(() => session() === null);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
});
