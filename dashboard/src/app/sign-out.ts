import { setSession } from "../api/session.ts";

/** Ends the session; the pages that show something of it go with it. */
export async function signOut(): Promise<void> {
  setSession(null);
}
