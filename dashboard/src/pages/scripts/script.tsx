import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { may, useSession } from "../../api/session.ts";
import type { Script } from "../../api/types.ts";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { notify } from "../../ui/notices.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { putScript } from "./facts.ts";
import { personasQuery, scriptQuery } from "./queries.ts";
import { Rounds } from "./rounds.tsx";
import { speakerName } from "./speaker.ts";
import { ScriptBadge } from "./state-badge.tsx";
import { Week } from "./week.tsx";

/** One script: who talks with whom about what, in which hours of the week, and what was said. */
export function ScriptRegion() {
  const { scriptId } = useParams({ from: "/shell/scripts/$scriptId" });
  const query = useQuery(scriptQuery(scriptId));
  return (
    <Scroller label={text("script.label")} className="h-full overflow-y-auto">
      <Link
        to="/scripts"
        className="m-2 inline-flex rounded-lg p-2 hover:bg-quiet md:hidden"
        aria-label={text("script.back")}
      >
        <ArrowLeft aria-hidden="true" className="size-5" />
      </Link>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.data ? <Whole script={query.data} /> : null}
    </Scroller>
  );
}

function Whole({ script }: { script: Script }) {
  const personas = useQuery(personasQuery).data;
  return (
    <div className="flex flex-col gap-6 p-4 md:p-6">
      <div>
        <div className="flex flex-wrap items-center gap-3">
          <h1 className="text-2xl font-bold [overflow-wrap:anywhere]">
            <bdi>{script.name}</bdi>
          </h1>
          <ScriptBadge state={script.state} />
          <Switch script={script} />
        </div>
        <p className="text-soft">
          {script.next_round_time
            ? text("scripts.next", { time: fullTime(script.next_round_time) })
            : text("scripts.noNext")}
        </p>
      </div>
      <section>
        <h2 className="mb-2 font-semibold">{text("script.participants")}</h2>
        <ul className="grid gap-2 sm:grid-cols-2">
          {script.participants.map((participant) => (
            <li key={participant.channel_id} className="rounded-lg border border-line bg-card p-3" data-participant>
              <p className="font-medium [overflow-wrap:anywhere]">
                <bdi>{speakerName(personas, participant)}</bdi>
              </p>
              <p className="text-sm text-soft">{participant.phone}</p>
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2 className="mb-2 font-semibold">{text("script.topics")}</h2>
        <ul className="flex list-disc flex-col gap-1 pl-5">
          {script.topics.map((topic) => (
            <li key={topic} className="[overflow-wrap:anywhere]">
              <bdi>{topic}</bdi>
            </li>
          ))}
        </ul>
      </section>
      <Week script={script} />
      <Rounds script={script} personas={personas} />
    </div>
  );
}

/** Pauses it, or has it go on. */
function Switch({ script }: { script: Script }) {
  const client = useQueryClient();
  const session = useSession();
  const next = script.state === "ACTIVE" ? "PAUSED" : "ACTIVE";
  const mutation = useMutation({
    mutationFn: () => {
      const params = { path: { script_id: script.script_id } };
      const body = { state: next, etag: script.etag, request_id: newRequestId() } as const;
      return taken<Script>(api.PATCH("/api/v1/scripts/{script_id}", { params, body }));
    },
    onSuccess: (changed) => putScript(client, changed),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
  if (!may("ADMIN", session)) return null;
  return (
    <Button
      look={next === "ACTIVE" ? "main" : "plain"}
      className="ml-auto"
      disabled={mutation.isPending}
      onClick={() => mutation.mutate()}
    >
      {text(next === "ACTIVE" ? "script.resume" : "script.pause")}
    </Button>
  );
}
