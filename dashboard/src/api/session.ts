import { useSyncExternalStore } from "react";
import type { Session } from "./types.ts";

/** Undefined until the server was asked; the session itself lies in a cookie that no script can read. */
let current: Session | null | undefined;
const listeners = new Set<() => void>();

/** Who is signed in: null for nobody. */
export function session(): Session | null | undefined {
  return current;
}

/** Takes over who is signed in, as the server has just told. */
export function setSession(next: Session | null): void {
  current = next;
  for (const changed of listeners) changed();
}

export function onSessionChange(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export function useSession(): Session | null | undefined {
  return useSyncExternalStore(onSessionChange, session);
}

const RANKS = ["VIEWER", "AGENT", "ADMIN", "OWNER"] as const;

/** Says whether the person may do what asks for a role; without a second factor nobody does more than an agent. */
export function may(role: (typeof RANKS)[number], who: Session | null | undefined): boolean {
  if (!who) return false;
  const held = RANKS.findIndex((rank) => rank === who.role);
  return (who.mfa_setup_required ? Math.min(held, 1) : held) >= RANKS.indexOf(role);
}
