import createClient, { type Middleware } from "openapi-fetch";
import type { paths } from "../gen/api.ts";
import { failed } from "./problems.ts";
import { session, setSession } from "./session.ts";
import type { Session } from "./types.ts";

const SAFE = new Set(["GET", "HEAD"]);
export const SESSION_PATH = "/api/v1/session";

const credentials: Middleware = {
  onRequest({ request }) {
    const token = session()?.csrf_token;
    // The cookie goes along by itself; this shows that the call comes from our own page.
    if (token && !SAFE.has(request.method)) request.headers.set("X-Prosa-Csrf", token);
    return request;
  },
  onResponse({ response, schemaPath }) {
    // Whoever signs in is told so by the form, and has no session to lose.
    if (response.status === 401 && schemaPath !== SESSION_PATH) setSession(null);
  },
};

/** Every call to the API, with paths and types from its own document. */
export const api = createClient<paths>({
  baseUrl: window.location.origin,
  // Looked up at each call: a test answers in its place.
  fetch: (request) => globalThis.fetch(request),
});
api.use(credentials);

interface Answer {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/** Answers what a call brought. Throws CallFailed. */
export async function taken<T>(call: Promise<Answer>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok || data === undefined) throw failed(response, error);
  return data as T;
}

let asking: Promise<Session | null> | undefined;

/** Answers who is signed in, and asks the server only the first time. Throws CallFailed where it cannot tell. */
export function knownSession(): Promise<Session | null> {
  const known = session();
  if (known !== undefined) return Promise.resolve(known);
  asking ??= ask().finally(() => {
    asking = undefined;
  });
  return asking;
}

async function ask(): Promise<Session | null> {
  const { data, error, response } = await api.GET(SESSION_PATH);
  if (response.ok && data) setSession(data as Session);
  else if (response.status === 401) setSession(null);
  else throw failed(response, error);
  return session() ?? null;
}
