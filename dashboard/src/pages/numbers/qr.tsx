import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { Instance } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Dialog } from "../../ui/dialog.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { Svg } from "../../ui/svg.tsx";
import { Help } from "./help.tsx";
import { qrQuery } from "./queries.ts";

const SECOND_MS = 1000;

/** The code to scan, always the newest, until the number is open. */
export function QrDialog({ instance, onClose }: { instance: Instance | undefined; onClose: () => void }) {
  return (
    <Dialog open onClose={onClose} title={text("qr.title", { name: instance?.name ?? "" })}>
      {!instance || instance.state === "CREATING" ? <Loading rows={3} className="!p-0" /> : null}
      {instance?.state === "QR" ? <Code instance={instance} /> : null}
      {instance && instance.state !== "QR" && instance.state !== "CREATING" ? (
        <div data-qr={instance.state}>
          <p>
            {text(instance.state === "OPEN" ? "qr.open" : "qr.state", { state: text(`instanceState.${instance.state}`) })}
          </p>
          <Help instance={instance} />
        </div>
      ) : null}
    </Dialog>
  );
}

function Code({ instance }: { instance: Instance }) {
  const query = useQuery(qrQuery(instance.instance_id, instance.qr_count));
  const left = useSecondsUntil(query.data?.expire_time ?? null);
  if (query.isPending) return <Loading rows={3} className="!p-0" />;
  if (query.isError) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  return (
    <>
      <p>{text("qr.how")}</p>
      <Svg source={query.data.qr_svg} label={text("qr.label")} className="mx-auto size-64 rounded-lg bg-white p-2" />
      {query.data.pairing_code ? (
        <p>
          {text("qr.pairing")} <code className="rounded bg-quiet px-2 py-1">{query.data.pairing_code}</code>
        </p>
      ) : null}
      <p className="text-center text-soft">{left > 0 ? text("qr.left", { count: left }) : text("qr.next")}</p>
    </>
  );
}

function useSecondsUntil(time: string | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), SECOND_MS);
    return () => clearInterval(timer);
  }, []);
  return time ? Math.max(0, Math.ceil((new Date(time).getTime() - now) / SECOND_MS)) : 0;
}
