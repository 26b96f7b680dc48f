import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { pageOf } from "../../app/page-of.ts";
import { api, taken } from "../../api/client.ts";
import { sentence } from "../../api/problems.ts";
import { setSession, useSession } from "../../api/session.ts";
import type { Session } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { CodeField } from "../../ui/code-field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { Failed, Loading } from "../../ui/states.tsx";
import { Svg } from "../../ui/svg.tsx";

interface Setup {
  secret: string;
  qr_svg: string;
}

/** Sets up the second factor: scan, confirm with a code, keep the recovery codes. */
export function SecondFactorPage() {
  const { back } = useSearch({ from: "/shell/second-factor" });
  const on = pageOf(back);
  const session = useSession();
  const [codes, setCodes] = useState<string[]>();
  return (
    <div className="mx-auto flex h-full max-w-lg flex-col gap-5 overflow-y-auto p-6">
      <h1 className="text-2xl font-bold">{text("secondFactor.title")}</h1>
      {codes ? <RecoveryCodes codes={codes} on={on} /> : null}
      {!codes && session?.mfa_set_up ? <p>{text("secondFactor.done")}</p> : null}
      {!codes && session && !session.mfa_set_up ? <SetUp onDone={setCodes} on={on} /> : null}
    </div>
  );
}

/** `on` is where the person goes on to. */
function SetUp({ onDone, on }: { onDone: (codes: string[]) => void; on: string }) {
  const session = useSession();
  // Asked again it would draw another secret, and the one that was scanned would count for nothing.
  const setup = useQuery({
    queryKey: ["mfa-setup"],
    queryFn: () => taken<Setup>(api.POST("/api/v1/session/mfa:begin", { body: {} })),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
    meta: { keptThroughGaps: true },
  });
  const confirming = useMutation({
    mutationFn: (code: string) =>
      taken<{ recovery_codes: string[]; session: Session }>(
        api.POST("/api/v1/session/mfa:confirm", { body: { mfa_code: code } }),
      ),
    onSuccess: (answer) => {
      onDone(answer.recovery_codes);
      setSession(answer.session);
    },
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    confirming.mutate(formValue(event.currentTarget, "code"));
  }

  if (setup.isPending) return <Loading rows={3} />;
  if (setup.isError) return <Failed error={setup.error} onRetry={() => void setup.refetch()} />;
  return (
    <>
      <p>{text(session?.mfa_setup_required ? "secondFactor.whyRequired" : "secondFactor.why")}</p>
      <p>{text("secondFactor.scan")}</p>
      <Svg source={setup.data.qr_svg} label={text("secondFactor.qr")} className="size-52 rounded-lg bg-white p-2" />
      <p className="text-soft">
        {text("secondFactor.secret")}{" "}
        <code className="block rounded bg-quiet px-2 py-1 text-ink [overflow-wrap:anywhere]" data-secret>
          {setup.data.secret}
        </code>
      </p>
      <form onSubmit={onSubmit} className="flex flex-col gap-4" aria-label={text("secondFactor.title")}>
        <CodeField setUp problem={confirming.isError ? sentence(confirming.error) : undefined} />
        <div className="flex flex-wrap items-center gap-3">
          <Button look="main" type="submit" disabled={confirming.isPending}>
            {text("secondFactor.confirm")}
          </Button>
          <Link to={on} className="text-soft underline underline-offset-2">
            {text("secondFactor.later")}
          </Link>
        </div>
      </form>
    </>
  );
}

function RecoveryCodes({ codes, on }: { codes: string[]; on: string }) {
  return (
    <>
      <p>{text("secondFactor.recovery")}</p>
      <ul className="grid grid-cols-2 gap-2 rounded-xl border border-line bg-card p-4 font-mono" data-recovery-codes>
        {codes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ul>
      <div className="flex flex-wrap items-center gap-3">
        <Button onClick={() => void navigator.clipboard.writeText(codes.join("\n"))}>{text("action.copy")}</Button>
        <Link to={on} className="text-accent underline underline-offset-2">
          {text("secondFactor.kept")}
        </Link>
      </div>
    </>
  );
}
