import { queryOptions } from "@tanstack/react-query";
import { api, taken } from "./client.ts";
import type { KillSwitch } from "./types.ts";

export const killSwitchKey = ["kill-switch"] as const;

/** Whether all sending is stopped, by whom and why. */
export const killSwitchQuery = queryOptions({
  queryKey: killSwitchKey,
  queryFn: ({ signal }) => taken<KillSwitch>(api.GET("/api/v1/kill-switch", { signal })),
});
