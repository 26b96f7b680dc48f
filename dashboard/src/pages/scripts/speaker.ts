import type { Persona, Script } from "../../api/types.ts";

/** Whoever speaks on a number; the number itself until the name is known. */
export function speakerName(personas: Persona[] | undefined, participant: Script["participants"][number] | undefined): string {
  const persona = personas?.find((each) => each.persona_id === participant?.persona_id);
  return persona?.name ?? participant?.phone ?? "";
}
