/** How far a conversation may be, in the order of the work. */
export const CONVERSATION_STATES = ["OPEN", "PENDING", "SNOOZED", "RESOLVED"] as const;
