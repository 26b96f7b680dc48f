import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useId, useState } from "react";
import { sentence } from "../../api/problems.ts";
import { may, useSession } from "../../api/session.ts";
import type { IdentityConflict, Task } from "../../api/types.ts";
import { fullTime } from "../../texts/formats.ts";
import { text, type TextKey } from "../../texts/index.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { SourceMark } from "../../ui/source.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { useDecide } from "./decisions.ts";
import { conflictQuery } from "./queries.ts";

const EVIDENCE: Record<string, TextKey> = {
  identity: "evidence.identity",
  alias: "evidence.alias",
  phone: "evidence.phone",
  email: "evidence.email",
};

/** One question, with both sides and what speaks for each. */
export function TaskCard({ task }: { task: Task }) {
  const conflict = useQuery(conflictQuery(task.identity_conflict_id));
  return (
    <li className="rounded-xl border border-line bg-card p-4" data-task={task.reconciliation_task_id}>
      <h2 className="flex flex-wrap items-center gap-2 font-semibold">
        <SourceMark source={task.source} />
        <bdi>{text("task.question", { id: task.external_id })}</bdi>
      </h2>
      <p className="mb-3 text-sm text-soft">
        {task.state === "OPEN"
          ? fullTime(task.create_time)
          : text("task.decidedBy", { name: task.decided_by?.name ?? "", time: fullTime(task.decide_time) })}
      </p>
      {conflict.isPending ? <Loading rows={2} className="!p-0" /> : null}
      {conflict.isError && !conflict.data ? (
        <Failed error={conflict.error} onRetry={() => void conflict.refetch()} />
      ) : null}
      {conflict.data ? <Sides task={task} conflict={conflict.data} /> : null}
    </li>
  );
}

function Sides({ task, conflict }: { task: Task; conflict: IdentityConflict }) {
  const id = useId();
  const session = useSession();
  const decide = useDecide(task);
  const [survivor, setSurvivor] = useState(conflict.contact_id);
  const open = task.state === "OPEN";
  const decidable = open && may("AGENT", session);
  return (
    <form onSubmit={(event) => event.preventDefault()} className="flex flex-col gap-3">
      <fieldset className="grid gap-2 sm:grid-cols-2">
        <legend className="mb-1 text-sm text-soft">{text(open ? "task.whoSurvives" : "task.candidates")}</legend>
        {conflict.candidates.map(({ contact, evidence }) =>
          contact ? (
            <label
              key={contact.contact_id}
              className="flex gap-3 rounded-lg border border-line p-3 has-checked:border-accent"
            >
              {decidable ? (
                <input
                  type="radio"
                  name={id}
                  className="mt-1"
                  checked={survivor === contact.contact_id}
                  onChange={() => setSurvivor(contact.contact_id)}
                />
              ) : null}
              <span className="flex min-w-0 flex-1 flex-col gap-1 [overflow-wrap:anywhere]">
                <bdi className="font-medium">{contact.name || text("contacts.nameless")}</bdi>
                <span className="text-sm text-soft">{[contact.phone, contact.email].filter(Boolean).join(" · ")}</span>
                <span className="flex flex-wrap gap-1">
                  {evidence.map((kind) => {
                    const known = EVIDENCE[kind];
                    return <Badge key={kind}>{known ? text(known) : kind}</Badge>;
                  })}
                </span>
                <Link
                  to="/contacts/$contactId"
                  params={{ contactId: contact.contact_id }}
                  className="text-sm text-accent underline underline-offset-2"
                >
                  {text("task.look")}
                </Link>
              </span>
            </label>
          ) : null,
        )}
      </fieldset>
      {decide.isError ? (
        <p role="alert" className="text-bad">
          {sentence(decide.error)}
        </p>
      ) : null}
      {decidable ? (
        <div className="flex flex-wrap gap-2">
          <Button look="main" disabled={decide.isPending} onClick={() => decide.mutate({ kind: "merge", survivor })}>
            {text("task.merge")}
          </Button>
          <Button disabled={decide.isPending} onClick={() => decide.mutate({ kind: "link", survivor })}>
            {text("task.link")}
          </Button>
          <Button disabled={decide.isPending} onClick={() => decide.mutate({ kind: "reject" })}>
            {text("task.reject")}
          </Button>
        </div>
      ) : null}
    </form>
  );
}
