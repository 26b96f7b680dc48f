import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { OctagonX } from "lucide-react";
import { type FormEvent, useState } from "react";
import { api, taken } from "../api/client.ts";
import { killSwitchKey, killSwitchQuery } from "../api/kill-switch.ts";
import { sentence } from "../api/problems.ts";
import { may, useSession } from "../api/session.ts";
import { withStepUp } from "../api/step-up.ts";
import type { KillSwitch } from "../api/types.ts";
import { fullTime } from "../texts/formats.ts";
import { text } from "../texts/index.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Field } from "../ui/field.tsx";
import { formValue } from "../ui/form-value.ts";

/** Stops all sending, from every page; says so for as long as it is stopped. */
export function KillSwitchButton() {
  const [open, setOpen] = useState(false);
  const session = useSession();
  const query = useQuery(killSwitchQuery);
  const state = query.data;
  if (!state || !may("AGENT", session)) return null;
  const stopped = state.engaged || state.engaged_globally;
  return (
    <>
      <Button look={stopped ? "danger" : "bare"} onClick={() => setOpen(true)} data-kill={stopped ? "on" : "off"}>
        <OctagonX aria-hidden="true" className="size-4" />
        <span className={stopped ? undefined : "sr-only md:not-sr-only"}>
          {text(stopped ? "kill.stopped" : "kill.open")}
        </span>
      </Button>
      <Dialog open={open} onClose={() => setOpen(false)} title={text(stopped ? "kill.stopped" : "kill.title")}>
        {stopped ? <Stopped state={state} onDone={() => setOpen(false)} /> : <Engage onDone={() => setOpen(false)} />}
      </Dialog>
    </>
  );
}

/** What must be typed: nobody stops everything by a slip. */
function Engage({ onDone }: { onDone: () => void }) {
  const client = useQueryClient();
  const word = text("kill.word");
  const [typed, setTyped] = useState("");
  const engaging = useMutation({
    mutationFn: (reason: string) => taken<KillSwitch>(api.POST("/api/v1/kill-switch:engage", { body: { reason } })),
    onSuccess: (state) => {
      client.setQueryData(killSwitchKey, state);
      onDone();
    },
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    engaging.mutate(formValue(event.currentTarget, "reason"));
  }

  return (
    <form onSubmit={onSubmit} className="flex flex-col gap-4">
      <p>{text("kill.what")}</p>
      <Field label={text("kill.reason")} name="reason" required maxLength={500} />
      <Field
        label={text("kill.type", { word })}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        autoComplete="off"
      />
      {engaging.isError ? (
        <p role="alert" className="text-bad">
          {sentence(engaging.error)}
        </p>
      ) : null}
      <Button
        look="danger"
        type="submit"
        disabled={engaging.isPending || typed.trim().toLowerCase() !== word.toLowerCase()}
      >
        {text("kill.engage")}
      </Button>
    </form>
  );
}

function Stopped({ state, onDone }: { state: KillSwitch; onDone: () => void }) {
  const client = useQueryClient();
  const session = useSession();
  const lifting = useMutation({
    mutationFn: () => withStepUp(() => taken<KillSwitch>(api.POST("/api/v1/kill-switch:lift", { body: {} }))),
    onSuccess: (next) => {
      client.setQueryData(killSwitchKey, next);
      onDone();
    },
  });
  return (
    <>
      {state.engaged ? (
        <p>
          {text("kill.by", { name: state.actor?.name ?? "", time: fullTime(state.change_time) })}{" "}
          <bdi className="font-medium">{state.reason}</bdi>
        </p>
      ) : null}
      {state.engaged_globally ? <p>{text("kill.global")}</p> : null}
      {lifting.isError ? (
        <p role="alert" className="text-bad">
          {sentence(lifting.error)}
        </p>
      ) : null}
      {state.engaged && may("ADMIN", session) ? (
        <Button look="main" disabled={lifting.isPending} onClick={() => lifting.mutate()}>
          {text("kill.lift")}
        </Button>
      ) : null}
      {state.engaged && !may("ADMIN", session) ? <p className="text-soft">{text("kill.mayNotLift")}</p> : null}
    </>
  );
}
