import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { may } from "../../api/session.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { Member, Session } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Choice } from "../../ui/choice.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { notify } from "../../ui/notices.tsx";
import { ROLES, type Role } from "./invite.tsx";
import { teamKeys } from "./queries.ts";

/** Says whether the person may change this member: somebody else, whose role is not above their own. */
export function mayChange(member: Member, who: Session | null | undefined): boolean {
  return member.user_id !== who?.user_id && (member.role === "UNSPECIFIED" || may(member.role, who));
}

/** Another role for a member, or none at all. */
export function MemberActions({ member }: { member: Member }) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const params = { path: { user_id: member.user_id } };
  const settled = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: teamKeys.members }),
      // Links that the member made may be withdrawn.
      client.invalidateQueries({ queryKey: teamKeys.invitations }),
    ]);
  const changing = useMutation({
    mutationFn: (role: Role) => {
      const body = { role, etag: member.etag, request_id: newRequestId() };
      return withStepUp(() => taken<unknown>(api.PATCH("/api/v1/members/{user_id}", { params, body })));
    },
    onError: (error) => notify(sentence(error), { tone: "bad" }),
    onSettled: settled,
  });
  const removing = useMutation({
    mutationFn: () => withStepUp(() => taken<unknown>(api.DELETE("/api/v1/members/{user_id}", { params }))),
    onSuccess: () => notify(text("team.removed", { email: member.email })),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
    onSettled: settled,
  });

  function remove(): void {
    // A code may be asked for in a window of its own.
    setAsking(false);
    removing.mutate();
  }

  return (
    <>
      <Choice
        label={text("team.roleOf", { email: member.email })}
        value={changing.isPending ? changing.variables : (member.role as Role)}
        options={ROLES.map((value) => ({ value, label: text(`role.${value}`) }))}
        onChange={(role) => changing.mutate(role)}
      />
      <Button look="danger" disabled={removing.isPending} onClick={() => setAsking(true)}>
        {text("team.remove")}
      </Button>
      <Dialog open={asking} onClose={() => setAsking(false)} title={text("team.removeTitle", { email: member.email })}>
        <p>{text("team.removeWhat")}</p>
        <Button look="danger" onClick={remove}>
          {text("team.remove")}
        </Button>
      </Dialog>
    </>
  );
}
