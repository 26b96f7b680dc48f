import { queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { HourHeatmap, MessagesPerDay } from "../../api/types.ts";

export const DAYS = 7;

export const metricKeys = {
  all: ["metrics"] as const,
  days: ["metrics", "days"] as const,
  heatmap: ["metrics", "heatmap"] as const,
};

export const messagesPerDayQuery = queryOptions({
  queryKey: metricKeys.days,
  queryFn: ({ signal }) =>
    taken<MessagesPerDay>(
      api.GET("/api/v1/metrics/messages-per-day", { params: { query: { day_count: DAYS } }, signal }),
    ),
});

export const hourHeatmapQuery = queryOptions({
  queryKey: metricKeys.heatmap,
  queryFn: ({ signal }) =>
    taken<HourHeatmap>(api.GET("/api/v1/metrics/hour-heatmap", { params: { query: { day_count: DAYS } }, signal })),
});
