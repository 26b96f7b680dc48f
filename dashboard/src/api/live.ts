import { useSyncExternalStore } from "react";
import { FrameReader } from "./frames.ts";
import { session, setSession } from "./session.ts";

/** One fact of the stream, with what the service said. */
export interface Fact {
  type: string;
  position: number;
  data: Record<string, unknown>;
}

export type LiveState = "connecting" | "live" | "away";

export interface Follower {
  onFact(fact: Fact): void;
  /** What was shown may be old: the stream begins, or goes on after what it no longer keeps. */
  onGap(): void;
}

const PATH = "/api/v1/stream";
const WAIT_MS_MIN = 500;
const WAIT_MS_MAX = 15_000;
/** The server shows a sign of life every 15 s; after this long without one the connection is dead. */
const SILENCE_MS_MAX = 40_000;

let state: LiveState = "connecting";
const listeners = new Set<() => void>();

function become(next: LiveState): void {
  if (next === state) return;
  state = next;
  for (const changed of listeners) changed();
}

export function useLiveState(): LiveState {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => state,
  );
}

/** Follows the organization's facts until the signal ends it, taking up where it was after every break. */
export async function follow(follower: Follower, signal: AbortSignal): Promise<void> {
  let position = "";
  let failures = 0;
  while (!signal.aborted && session()) {
    become(failures === 0 ? "connecting" : "away");
    try {
      position = await readOnce(position, follower, signal, () => {
        failures = 0;
        become("live");
      });
    } catch (error) {
      if (error instanceof Moved) position = error.position;
    }
    if (signal.aborted) return;
    await rest(Math.min(WAIT_MS_MIN * 2 ** Math.min(failures, 10), WAIT_MS_MAX), signal);
    failures += 1;
  }
}

/** The connection broke; what was read until then is not read again. */
class Moved extends Error {
  readonly position: string;

  constructor(position: string, cause: unknown) {
    super("The stream ended.", { cause });
    this.position = position;
  }
}

async function readOnce(after: string, follower: Follower, signal: AbortSignal, begun: () => void): Promise<string> {
  let position = after;
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
  try {
    const headers: Record<string, string> = position ? { "Last-Event-ID": position } : {};
    const response = await fetch(PATH, { headers, signal: either, cache: "no-store" });
    if (response.status === 401) setSession(null);
    if (!response.ok || !response.body) throw new Error(`The stream answered ${response.status}.`);
    // A stream that begins says first where it stands; what is asked for before that may miss what it does not tell.
    let standing = position !== "";
    if (standing) begun();
    const frames = new FrameReader();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return position;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
      for (const frame of frames.read(value)) {
        if (!standing && frame.id) {
          standing = true;
          follower.onGap();
          begun();
        }
        if (frame.event === "problem") {
          if (frame.id === "") position = "";
        } else if (frame.event && frame.data) {
          follower.onFact(JSON.parse(frame.data) as Fact);
        }
        if (frame.id) position = frame.id;
      }
    }
  } catch (error) {
    throw new Moved(position, error);
  } finally {
    clearTimeout(timer);
  }
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      window.removeEventListener("online", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    // No need to wait once the machine has its network back.
    window.addEventListener("online", done);
  });
}
