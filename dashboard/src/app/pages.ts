/** The first part of every page's address: the gateway answers these, and what lies below them, with the index. */
export const PAGES = ["sign-in", "conversations", "contacts", "board", "tasks", "campaigns", "scripts", "figures", "numbers", "team", "second-factor", "invitation"] as const;
