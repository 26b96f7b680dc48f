import type { Campaign } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Badge, type Tone } from "../../ui/badge.tsx";

const TONES: Partial<Record<Campaign["state"], Tone>> = { RUNNING: "good", DONE: "good", PAUSED: "warn", CANCELLED: "bad" };

export function StateBadge({ state }: { state: Campaign["state"] }) {
  return <Badge tone={TONES[state] ?? "plain"}>{text(`campaignState.${state}`)}</Badge>;
}
