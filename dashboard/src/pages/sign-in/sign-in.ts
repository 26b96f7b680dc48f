import { api, taken } from "../../api/client.ts";
import { setSession } from "../../api/session.ts";

interface Token {
  access_token: string;
  expires_in: number;
  organization_id: string;
}

/** Signs a person in. Throws CallFailed. */
export async function signIn(body: { email: string; password: string }): Promise<void> {
  const begun = Date.now();
  const token = await taken<Token>(api.POST("/api/v1/sessions", { body }));
  setSession({
    token: token.access_token,
    organizationId: token.organization_id,
    endTime: begun + token.expires_in * 1000,
  });
}
