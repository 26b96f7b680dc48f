import type { Round, Script } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Badge, type Tone } from "../../ui/badge.tsx";

const SCRIPT_TONES: Partial<Record<Script["state"], Tone>> = { ACTIVE: "good", PAUSED: "warn" };
const ROUND_TONES: Partial<Record<Round["state"], Tone>> = {
  RUNNING: "good",
  DONE: "good",
  SKIPPED: "warn",
  BROKEN_OFF: "bad",
};

export function ScriptBadge({ state }: { state: Script["state"] }) {
  return <Badge tone={SCRIPT_TONES[state] ?? "plain"}>{text(`scriptState.${state}`)}</Badge>;
}

export function RoundBadge({ state }: { state: Round["state"] }) {
  return <Badge tone={ROUND_TONES[state] ?? "plain"}>{text(`roundState.${state}`)}</Badge>;
}
