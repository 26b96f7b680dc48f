import type { Connection, Conversation, Instance, KillSwitch, Session } from "../../api/types.ts";
import { may } from "../../api/session.ts";
import { text } from "../../texts/index.ts";

/** What is known of whether an answer can leave; what is not known yet does not stand in the way. */
export interface Situation {
  session: Session | null | undefined;
  online: boolean;
  conversation: Conversation;
  killSwitch: KillSwitch | undefined;
  connection: Connection | undefined;
  /** The number behind the conversation, where it is one of Evolution's. */
  instance: Instance | undefined;
}

export interface Blocked {
  sentence: string;
  /** Where in these pages it can be set right. */
  cure?: "numbers";
}

/** States of a number in which nothing can leave until somebody acts; in others what is sent waits for its turn. */
const NUMBER_AWAY = new Set<Instance["state"]>(["CREATING", "QR", "CLOSED", "FAILED", "BANNED"]);

/** Answers why nothing can be sent now and who can change that, or undefined where it can. */
export function blocked({ session, online, conversation, killSwitch, connection, instance }: Situation): Blocked | undefined {
  if (!may("AGENT", session)) return { sentence: text("composer.mayNot") };
  if (!online) return { sentence: text("composer.offline") };
  if (killSwitch?.engaged_globally) return { sentence: text("kill.global") };
  if (killSwitch?.engaged) {
    return { sentence: text(may("ADMIN", session) ? "composer.killedMayLift" : "composer.killed", { reason: killSwitch.reason }) };
  }
  if (!conversation.conversation_key) return { sentence: text("composer.nobody") };
  if (instance && NUMBER_AWAY.has(instance.state)) {
    const sentence = text("composer.numberAway", { name: instance.name, state: text(`instanceState.${instance.state}`) });
    return { sentence, cure: "numbers" };
  }
  if (connection?.provider === "CHATWOOT" && !(connection.base_url && connection.access_token_set)) {
    return { sentence: text("composer.cannotSend", { name: connection.name }) };
  }
  return undefined;
}
