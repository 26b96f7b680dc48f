import type { Instance } from "../../api/types.ts";
import { text } from "../../texts/index.ts";

const HELP = {
  QR: "instanceHelp.QR",
  CONNECTING: "instanceHelp.CONNECTING",
  CLOSED: "instanceHelp.CLOSED",
  BANNED: "instanceHelp.BANNED",
  UNREACHABLE: "instanceHelp.UNREACHABLE",
  FAILED: "instanceHelp.FAILED",
} as const;
/** What was seen tells more than the state itself; it is the service's own sentence, in English. */
const SEEN = new Set<Instance["state"]>(["CLOSED", "BANNED", "UNREACHABLE", "FAILED"]);

/** What to do about a number, and what was seen of it where that helps. */
export function Help({ instance }: { instance: Instance }) {
  const help = HELP[instance.state as keyof typeof HELP];
  return (
    <>
      {help ? <p className="w-full text-sm text-warn">{text(help)}</p> : null}
      {instance.cause && SEEN.has(instance.state) ? (
        <p lang="en" className="w-full text-sm text-soft">
          {instance.cause}
        </p>
      ) : null}
    </>
  );
}
