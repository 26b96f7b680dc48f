import { api } from "../api/client.ts";
import { failed, sentence } from "../api/problems.ts";
import { setSession } from "../api/session.ts";
import { notify } from "../ui/notices.tsx";

/** Ends the session at the server; where that cannot be told, the person is told, and stays signed in. */
export async function signOut(): Promise<void> {
  try {
    const { response, error } = await api.DELETE("/api/v1/session");
    if (!response.ok && response.status !== 401) throw failed(response, error);
    setSession(null);
  } catch (error) {
    notify(sentence(error), { tone: "bad" });
  }
}
