import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, taken } from "../api/client.ts";
import { sentence } from "../api/problems.ts";
import { queryClient } from "../api/query.ts";
import { setSession } from "../api/session.ts";
import type { Session } from "../api/types.ts";
import { text } from "../texts/index.ts";
import { Choice } from "../ui/choice.tsx";
import { notify } from "../ui/notices.tsx";

/** Says in which organization the person works, and leads to the others. */
export function OrganizationSwitch({ session }: { session: Session }) {
  const navigate = useNavigate();
  const switching = useMutation({
    mutationFn: (organizationId: string) =>
      taken<Session>(api.POST("/api/v1/session:switchOrganization", { body: { organization_id: organizationId } })),
    onSuccess: async (next) => {
      // An address may name something of the organization that is left.
      await navigate({ to: "/conversations", search: {} });
      queryClient.clear();
      setSession(next);
    },
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
  const here = session.organizations.find((one) => one.organization_id === session.organization_id);
  if (session.organizations.length < 2) return <p className="min-w-0 truncate font-semibold">{here?.name}</p>;
  return (
    <Choice
      className="min-w-0 font-semibold"
      label={text("organization.choose")}
      value={session.organization_id}
      options={session.organizations.map((one) => ({ value: one.organization_id, label: one.name }))}
      onChange={(organizationId) => switching.mutate(organizationId)}
    />
  );
}
