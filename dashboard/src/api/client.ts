import createClient, { type Middleware } from "openapi-fetch";
import type { paths } from "../gen/api.ts";
import { CallFailed, failed } from "./problems.ts";
import { session, setSession } from "./session.ts";

const credentials: Middleware = {
  onRequest({ request }) {
    const token = session()?.token;
    if (token) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
  onResponse({ response, schemaPath }) {
    // Whoever signs in is told so by the form, and has no session to lose.
    if (response.status === 401 && schemaPath !== "/api/v1/sessions") setSession(null);
  },
};

/** Every call to the API, with paths and types from its own document. */
export const api = createClient<paths>({ baseUrl: window.location.origin });
api.use(credentials);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Answers what a call brought. Throws CallFailed. */
export async function taken<T>(call: Promise<Answer<unknown>>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok || data === undefined) throw failed(response, error);
  return data as T;
}

export { CallFailed };
