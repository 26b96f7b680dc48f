import { api, taken } from "../../api/client.ts";
import { setSession } from "../../api/session.ts";
import type { Session } from "../../api/types.ts";

export interface Credentials {
  email: string;
  password: string;
  /** Empty until the server has asked for it. */
  mfa_code: string;
}

/** Signs a person in. Throws CallFailed, MFA_CODE_MISSING where a code is asked for. */
export async function signIn(body: Credentials): Promise<void> {
  setSession(await taken<Session>(api.POST("/api/v1/session", { body })));
}
