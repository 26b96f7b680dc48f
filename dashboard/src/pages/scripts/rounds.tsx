import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, taken } from "../../api/client.ts";
import { itemsOf } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import { may, useSession } from "../../api/session.ts";
import type { Persona, Round, Script } from "../../api/types.ts";
import { clockTime, fullTime } from "../../texts/formats.ts";
import { reasonText, text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { classes } from "../../ui/classes.ts";
import { More } from "../../ui/more.tsx";
import { notify } from "../../ui/notices.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { putRound } from "./facts.ts";
import { roundQuery, roundsQuery } from "./queries.ts";
import { speakerName } from "./speaker.ts";
import { RoundBadge } from "./state-badge.tsx";

/** The rounds whose time has come, the latest first; what was said in one is shown where it is opened. */
export function Rounds({ script, personas }: { script: Script; personas: Persona[] | undefined }) {
  const query = useInfiniteQuery(roundsQuery(script.script_id));
  const rounds = itemsOf(query.data);
  return (
    <section>
      <h2 className="mb-2 font-semibold">{text("script.rounds")}</h2>
      {query.isPending ? <Loading rows={2} className="!p-0" /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && rounds.length === 0 ? <p className="text-soft">{text("script.noRounds")}</p> : null}
      <ul>
        {rounds.map((round) => (
          <Row key={round.round_id} round={round} script={script} personas={personas} />
        ))}
      </ul>
      <More query={query} />
    </section>
  );
}

interface RowProps {
  round: Round;
  script: Script;
  personas: Persona[] | undefined;
}

function Row({ round, script, personas }: RowProps) {
  const session = useSession();
  // One that is being said is there to be read.
  const [open, setOpen] = useState(round.state === "RUNNING");
  return (
    <li className="border-t border-line py-2" data-round={round.state}>
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <button
          type="button"
          aria-expanded={open}
          className="min-w-0 flex-1 rounded-lg py-1 text-left hover:bg-quiet"
          onClick={() => setOpen(!open)}
        >
          <bdi className="font-medium [overflow-wrap:anywhere]">{round.topic}</bdi>
          <span className="block text-sm text-soft">
            {fullTime(round.due_time)}
            {" · "}
            {text("round.sentOf", { sent: round.sent_count, planned: round.exchange_count * 2 })}
          </span>
        </button>
        <RoundBadge state={round.state} />
        {round.state === "RUNNING" && may("AGENT", session) ? <Stop roundId={round.round_id} /> : null}
      </div>
      {round.reason ? <p className="text-sm text-soft">{reasonText(round.reason) ?? round.reason}</p> : null}
      {open ? <Lines round={round} script={script} personas={personas} /> : null}
    </li>
  );
}

function Lines({ round, script, personas }: RowProps) {
  const query = useQuery(roundQuery(round.round_id));
  if (query.isPending) return <Loading rows={2} className="!px-0" />;
  if (!query.data) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  const { messages, sent_count } = query.data;
  if (messages.length === 0) return <p className="text-sm text-soft">{text("round.nothingSaid")}</p>;
  return (
    <ol className="flex flex-col gap-2 py-2">
      {messages.map((message) => {
        const second = message.position % 2 === 1;
        return (
          <li
            key={message.position}
            data-line={message.position}
            className={classes(
              "max-w-[85%] rounded-xl border border-line px-3 py-2",
              second ? "self-end bg-quiet" : "self-start bg-card",
            )}
          >
            <p className="text-sm font-medium">
              <bdi>{speakerName(personas, script.participants[second ? 1 : 0])}</bdi>
            </p>
            <p dir="auto" className="whitespace-pre-wrap [overflow-wrap:anywhere]">
              {message.text}
            </p>
            <p className="text-xs text-soft">
              {message.due_time ? clockTime(message.due_time) : null}
              {message.position < sent_count ? null : ` · ${text("round.notSent")}`}
            </p>
          </li>
        );
      })}
    </ol>
  );
}

/** Ends a round where it stands. */
function Stop({ roundId }: { roundId: string }) {
  const client = useQueryClient();
  const mutation = useMutation({
    mutationFn: () =>
      taken<Round>(
        api.POST("/api/v1/rounds/{round_id}:cancel", { params: { path: { round_id: roundId } }, body: {} }),
      ),
    onSuccess: (ended) => putRound(client, ended),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
  return (
    <Button look="danger" disabled={mutation.isPending} onClick={() => mutation.mutate()}>
      {text("round.stop")}
    </Button>
  );
}
