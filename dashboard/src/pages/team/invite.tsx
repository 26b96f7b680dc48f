import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { withStepUp } from "../../api/step-up.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Choice } from "../../ui/choice.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field } from "../../ui/field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { teamKeys } from "./queries.ts";

export const ROLES = ["AGENT", "VIEWER", "ADMIN", "OWNER"] as const;
export type Role = (typeof ROLES)[number];

/** Makes the link of an invitation; it is shown once, for the person who invites to hand on. */
export function InviteDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [role, setRole] = useState<Role>("AGENT");
  const inviting = useMutation({
    mutationFn: (body: { email: string; role: Role; request_id: string }) =>
      withStepUp(() => taken<{ secret: string }>(api.POST("/api/v1/invitations", { body }))),
    onSettled: () => client.invalidateQueries({ queryKey: teamKeys.invitations }),
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    inviting.mutate({ email: formValue(event.currentTarget, "email"), role, request_id: newRequestId() });
  }

  return (
    <Dialog open onClose={onClose} title={text("team.invite")}>
      {inviting.data ? (
        <Link secret={inviting.data.secret} />
      ) : (
        <form onSubmit={onSubmit} className="flex flex-col gap-4">
          <Field label={text("signIn.email")} name="email" type="email" required maxLength={320} />
          <Choice
            label={text("team.role")}
            value={role}
            options={ROLES.map((value) => ({ value, label: text(`role.${value}`) }))}
            onChange={setRole}
          />
          {inviting.isError ? (
            <p role="alert" className="text-bad">
              {sentence(inviting.error)}
            </p>
          ) : null}
          <Button look="main" type="submit" disabled={inviting.isPending}>
            {text("team.makeLink")}
          </Button>
        </form>
      )}
    </Dialog>
  );
}

function Link({ secret }: { secret: string }) {
  // What follows # is sent to no server, and stands in no log.
  const address = `${window.location.origin}/invitation#${secret}`;
  return (
    <>
      <p>{text("team.link")}</p>
      <code className="rounded bg-quiet px-2 py-1 [overflow-wrap:anywhere]" data-invitation>
        {address}
      </code>
      <Button onClick={() => void navigator.clipboard.writeText(address)}>{text("action.copy")}</Button>
    </>
  );
}
