import { reasonText, text } from "../texts/index.ts";
import type { Problem } from "./types.ts";

/** What went wrong with a call, in words for the person who made it. */
export class CallFailed extends Error {
  readonly status: number;
  readonly reason: string;
  readonly correlationId: string;
  readonly violations: Problem["violations"];
  readonly metadata: Problem["metadata"];

  constructor(status: number, problem: Partial<Problem>, correlationId: string) {
    super(problem.detail ?? "");
    this.name = "CallFailed";
    this.status = status;
    this.reason = problem.reason ?? "";
    this.correlationId = correlationId;
    this.violations = problem.violations ?? [];
    this.metadata = problem.metadata ?? {};
  }
}

/** Reads an answer that is no success; a proxy on the way may have answered something of its own. */
export function failed(response: Response, body: unknown): CallFailed {
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Problem>;
  return new CallFailed(response.status, problem, response.headers.get("X-Correlation-Id") ?? "");
}

/** The sentence to show: ours for the reason, else the server's, else that it cannot be reached. */
export function sentence(error: unknown): string {
  if (!(error instanceof CallFailed)) return text("error.unreachable");
  return (reasonText(error.reason) ?? error.message) || text("error.status", { status: error.status });
}

/** Trying again helps where the network or the server was away, not where the request was refused. */
export function worthRetrying(error: unknown): boolean {
  return !(error instanceof CallFailed) || error.status >= 500 || error.status === 429;
}
