import { useSyncExternalStore } from "react";

function listen(changed: () => void): () => void {
  window.addEventListener("online", changed);
  window.addEventListener("offline", changed);
  return () => {
    window.removeEventListener("online", changed);
    window.removeEventListener("offline", changed);
  };
}

/** Whether the machine has a network at all; that the server answers, it does not say. */
export function useOnline(): boolean {
  return useSyncExternalStore(listen, () => navigator.onLine);
}
