import { CallFailed } from "./problems.ts";

/** Asks the person for a code; answers whether it was right, or false where the person gave up. */
type Asker = () => Promise<boolean>;

let asker: Asker | undefined;

/** Registers who asks; the function answered ends it. */
export function onStepUp(next: Asker): () => void {
  asker = next;
  return () => {
    if (asker === next) asker = undefined;
  };
}

/** Makes a call that may ask for a second factor: once the code is shown, the same call is made again. */
export async function withStepUp<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof CallFailed) || error.reason !== "MFA_REQUIRED" || !asker) throw error;
    if (!(await asker())) throw error;
    return call();
  }
}
