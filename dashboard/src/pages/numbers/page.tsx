import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, taken } from "../../api/client.ts";
import { itemsOf } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { may, useSession } from "../../api/session.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { Instance } from "../../api/types.ts";
import { fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { Badge, type Tone } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { PagedList } from "../../ui/list.tsx";
import { notify } from "../../ui/notices.tsx";
import { Empty } from "../../ui/states.tsx";
import { CorrectNumber } from "./correct.tsx";
import { CreateNumber } from "./create.tsx";
import { Help } from "./help.tsx";
import { QrDialog } from "./qr.tsx";
import { numbersQuery, STATE_POLL_MS } from "./queries.ts";

const TONES: Partial<Record<Instance["state"], Tone>> = {
  OPEN: "good",
  QR: "warn",
  CONNECTING: "warn",
  CLOSED: "bad",
  BANNED: "bad",
  UNREACHABLE: "bad",
  FAILED: "bad",
};
/** Where the address or the key may be wrong. */
const CORRECTABLE = new Set<Instance["state"]>(["CREATING", "UNREACHABLE", "FAILED"]);
/** What asking for another code may cure. */
const CONNECTABLE = new Set<Instance["state"]>(["CLOSED", "UNREACHABLE", "FAILED"]);

/** The connected numbers, each with its state, why it is so, and what to do. */
export function NumbersPage() {
  const session = useSession();
  const [creating, setCreating] = useState(false);
  const [shown, setShown] = useState<string>();
  const query = useInfiniteQuery({ ...numbersQuery, refetchInterval: shown ? STATE_POLL_MS : false });
  const instances = itemsOf(query.data);
  const mayChange = may("ADMIN", session);
  const create = mayChange ? (
    <Button look="main" onClick={() => setCreating(true)}>
      {text("numbers.create")}
    </Button>
  ) : undefined;
  return (
    <div className="flex h-full flex-col">
      <div className="flex items-center gap-3 border-b border-line p-3">
        <h1 className="font-semibold">{text("numbers.title")}</h1>
        <div className="ml-auto">{instances.length > 0 ? create : null}</div>
      </div>
      <PagedList
        query={query}
        label={text("numbers.title")}
        empty={<Empty sentence={text("numbers.empty")} action={create} />}
        className="mx-auto flex max-w-3xl flex-col gap-3 p-3"
      >
        {(instance) => (
          <Row
            key={instance.instance_id}
            instance={instance}
            mayChange={mayChange}
            onQr={() => setShown(instance.instance_id)}
          />
        )}
      </PagedList>
      {creating ? <CreateNumber onClose={() => setCreating(false)} onCreated={setShown} /> : null}
      {shown ? (
        <QrDialog
          instance={instances.find((instance) => instance.instance_id === shown)}
          onClose={() => setShown(undefined)}
        />
      ) : null}
    </div>
  );
}

function Row({ instance, mayChange, onQr }: { instance: Instance; mayChange: boolean; onQr: () => void }) {
  const [correcting, setCorrecting] = useState(false);
  const connecting = useMutation({
    mutationFn: () => {
      const body = { request_id: newRequestId() };
      const path = { instance_id: instance.instance_id };
      return withStepUp(() => taken<unknown>(api.POST("/api/v1/instances/{instance_id}:connect", { params: { path }, body })));
    },
    onSuccess: onQr,
    onError: (error) => notify(sentence(error), { tone: "bad" }),
  });
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 rounded-xl border border-line bg-card p-4" data-instance={instance.state}>
      <h2 className="min-w-0 flex-1 font-semibold [overflow-wrap:anywhere]">
        <bdi>{instance.name}</bdi>
      </h2>
      <Badge tone={TONES[instance.state] ?? "plain"}>{text(`instanceState.${instance.state}`)}</Badge>
      {mayChange && instance.state === "QR" ? <Button onClick={onQr}>{text("numbers.qr")}</Button> : null}
      {mayChange && CONNECTABLE.has(instance.state) ? (
        <Button disabled={connecting.isPending} onClick={() => connecting.mutate()}>
          {text("numbers.connect")}
        </Button>
      ) : null}
      {mayChange && CORRECTABLE.has(instance.state) ? (
        <Button onClick={() => setCorrecting(true)}>{text("numbers.correct")}</Button>
      ) : null}
      {correcting ? <CorrectNumber instance={instance} onClose={() => setCorrecting(false)} /> : null}
      <p className="w-full text-sm text-soft">
        {[instance.phone, instance.profile_name, text("numbers.since", { time: fullTime(instance.state_time) })]
          .filter(Boolean)
          .join(" · ")}
      </p>
      <Help instance={instance} />
    </li>
  );
}
