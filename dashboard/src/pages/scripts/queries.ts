import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import type { Page } from "../../api/pages.ts";
import type { Persona, Round, Script } from "../../api/types.ts";

/** As many as an organization can have. */
const PERSONAS_MAX = 200;

export const scriptKeys = {
  list: ["scripts"] as const,
  one: (scriptId: string) => ["script", scriptId] as const,
  rounds: (scriptId: string) => ["rounds", scriptId] as const,
  round: (roundId: string) => ["round", roundId] as const,
  personas: ["personas"] as const,
};

export const scriptsQuery = infiniteQueryOptions({
  queryKey: scriptKeys.list,
  queryFn: async ({ pageParam, signal }): Promise<Page<Script>> => {
    const query = { page_token: pageParam || undefined };
    const answer = await taken<{ scripts: Script[]; next_page_token: string }>(
      api.GET("/api/v1/scripts", { params: { query }, signal }),
    );
    return { items: answer.scripts, nextPageToken: answer.next_page_token };
  },
  initialPageParam: "",
  getNextPageParam: (last) => last.nextPageToken || null,
});

export function scriptQuery(scriptId: string) {
  return queryOptions({
    queryKey: scriptKeys.one(scriptId),
    queryFn: ({ signal }) =>
      taken<Script>(api.GET("/api/v1/scripts/{script_id}", { params: { path: { script_id: scriptId } }, signal })),
  });
}

/** The rounds whose time has come, the latest first; what is only planned, the script's next time says. */
export function roundsQuery(scriptId: string) {
  return infiniteQueryOptions({
    queryKey: scriptKeys.rounds(scriptId),
    queryFn: async ({ pageParam, signal }): Promise<Page<Round>> => {
      // A token is for the very list that it came with, so its time goes along.
      const end_time = pageParam.end_time || new Date().toISOString();
      const query = { script_id: scriptId, end_time, page_token: pageParam.token || undefined };
      const answer = await taken<{ rounds: Round[]; next_page_token: string }>(
        api.GET("/api/v1/rounds", { params: { query }, signal }),
      );
      return { items: answer.rounds, nextPageToken: answer.next_page_token && `${end_time} ${answer.next_page_token}` };
    },
    initialPageParam: { end_time: "", token: "" },
    getNextPageParam: (last) => {
      const [end_time = "", token = ""] = last.nextPageToken.split(" ");
      return token ? { end_time, token } : null;
    },
  });
}

export function roundQuery(roundId: string) {
  return queryOptions({
    queryKey: scriptKeys.round(roundId),
    queryFn: ({ signal }) =>
      taken<Round>(api.GET("/api/v1/rounds/{round_id}", { params: { path: { round_id: roundId } }, signal })),
  });
}

export const personasQuery = queryOptions({
  queryKey: scriptKeys.personas,
  queryFn: async ({ signal }) => {
    const answer = await taken<{ personas: Persona[] }>(
      api.GET("/api/v1/personas", { params: { query: { page_size: PERSONAS_MAX } }, signal }),
    );
    return answer.personas;
  },
});
