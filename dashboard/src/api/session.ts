import { useSyncExternalStore } from "react";

/** A signed-in person, as this tab knows him. */
export interface Session {
  token: string;
  organizationId: string;
  /** Milliseconds since 1970. */
  endTime: number;
}

const KEPT_AS = "prosa.session";
const listeners = new Set<() => void>();
let current: Session | null = read();

function read(): Session | null {
  const kept = sessionStorage.getItem(KEPT_AS);
  if (!kept) return null;
  const session = JSON.parse(kept) as Session;
  return session.endTime > Date.now() ? session : null;
}

export function session(): Session | null {
  return current;
}

/** Keeps who is signed in, in this tab alone; null signs out. */
export function setSession(next: Session | null): void {
  current = next;
  if (next) sessionStorage.setItem(KEPT_AS, JSON.stringify(next));
  else sessionStorage.removeItem(KEPT_AS);
  for (const changed of listeners) changed();
}

export function onSessionChange(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export function useSession(): Session | null {
  return useSyncExternalStore(onSessionChange, session);
}
