import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, taken } from "../../api/client.ts";
import { itemsOf } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import { may, useSession } from "../../api/session.ts";
import type { Invitation } from "../../api/types.ts";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { More } from "../../ui/more.tsx";
import { notify } from "../../ui/notices.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { InviteDialog } from "./invite.tsx";
import { MemberActions, mayChange } from "./member-actions.tsx";
import { invitationsQuery, membersQuery, teamKeys } from "./queries.ts";

/** Who works here, and who is asked to. */
export function TeamPage() {
  const session = useSession();
  const query = useInfiniteQuery(membersQuery);
  const [inviting, setInviting] = useState(false);
  const mayInvite = may("ADMIN", session);
  return (
    <Scroller label={text("team.title")} className="h-full overflow-y-auto">
      <div className="mx-auto flex max-w-3xl flex-col gap-4 p-4 md:p-6">
        <div className="flex items-center gap-3">
          <h1 className="flex-1 text-2xl font-bold">{text("team.title")}</h1>
          {mayInvite ? (
            <Button look="main" onClick={() => setInviting(true)}>
              {text("team.invite")}
            </Button>
          ) : null}
        </div>
        {query.isPending ? <Loading rows={2} className="!p-0" /> : null}
        {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
        <ul className="flex flex-col gap-2">
          {itemsOf(query.data).map((member) => (
            <li
              key={member.user_id}
              className="flex flex-wrap items-center gap-2 rounded-lg border border-line bg-card p-3"
              data-member={member.email}
            >
              <bdi className="min-w-40 flex-1 font-medium [overflow-wrap:anywhere]">{member.email}</bdi>
              {mayInvite && mayChange(member, session) ? (
                <MemberActions member={member} />
              ) : (
                <Badge>{text(`role.${member.role}`)}</Badge>
              )}
              <Badge tone={member.mfa_set_up ? "good" : "warn"}>
                {text(member.mfa_set_up ? "team.factor" : "team.noFactor")}
              </Badge>
              <span className="w-full text-sm text-soft">
                {member.last_sign_in_time
                  ? text("team.lastSignIn", { time: fullTime(member.last_sign_in_time) })
                  : text("team.neverSignedIn")}
              </span>
            </li>
          ))}
        </ul>
        <More query={query} />
        {mayInvite ? <Invitations /> : null}
        {inviting ? <InviteDialog onClose={() => setInviting(false)} /> : null}
      </div>
    </Scroller>
  );
}

function Invitations() {
  const client = useQueryClient();
  const query = useInfiniteQuery(invitationsQuery);
  const open = itemsOf(query.data).filter((invitation) => !invitation.revoke_time);
  const revoking = useMutation({
    mutationFn: (invitation: Invitation) =>
      taken<unknown>(
        api.POST("/api/v1/invitations/{invitation_id}:revoke", {
          params: { path: { invitation_id: invitation.invitation_id } },
          body: {},
        }),
      ),
    onError: (error) => notify(sentence(error), { tone: "bad" }),
    onSettled: () => client.invalidateQueries({ queryKey: teamKeys.invitations }),
  });
  if (query.isError) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  if (open.length === 0) return null;
  return (
    <div>
      <h2 className="mb-2 font-semibold">{text("team.invitations")}</h2>
      <ul className="flex flex-col gap-2">
        {open.map((invitation) => (
          <li
            key={invitation.invitation_id}
            className="flex flex-wrap items-center gap-2 rounded-lg border border-line bg-card p-3"
          >
            <bdi className="min-w-40 flex-1 [overflow-wrap:anywhere]">{invitation.email}</bdi>
            <Badge>{text(`role.${invitation.role}`)}</Badge>
            <span className="text-sm text-soft">{text("team.until", { time: fullTime(invitation.expire_time) })}</span>
            <Button disabled={revoking.isPending} onClick={() => revoking.mutate(invitation)}>
              {text("team.withdraw")}
            </Button>
          </li>
        ))}
      </ul>
    </div>
  );
}
