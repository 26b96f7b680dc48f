import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, Navigate } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { api, taken } from "../../api/client.ts";
import { CallFailed, sentence } from "../../api/problems.ts";
import { setSession, useSession } from "../../api/session.ts";
import type { InvitationOffer, Session } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { CodeField } from "../../ui/code-field.tsx";
import { Field } from "../../ui/field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { Wordmark } from "../../ui/wordmark.tsx";

const PASSWORD_LENGTH_MIN = 8;
const CODE_REASONS = new Set(["MFA_CODE_MISSING", "MFA_CODE_INVALID"]);

/** Where the link of an invitation leads: what is offered, and the password to take it. */
export function InvitationPage() {
  const secret = window.location.hash.slice(1);
  const offer = useQuery({
    queryKey: ["invitation", secret],
    queryFn: () => taken<InvitationOffer>(api.POST("/api/v1/invitations:check", { body: { secret } })),
    retry: false,
    enabled: secret !== "",
  });
  return (
    <main className="mx-auto flex min-h-full max-w-sm flex-col justify-center gap-6 p-6">
      <h1 className="text-4xl">
        <Wordmark />
        <span className="sr-only">{text("invitation.title")}</span>
      </h1>
      {secret ? null : <Empty sentence={text("invitation.cutOff")} action={<ToSignIn />} />}
      {offer.isLoading ? <Loading rows={2} className="!p-0" /> : null}
      {offer.isError ? <Failed error={offer.error} /> : null}
      {offer.data ? <Offer offer={offer.data} secret={secret} /> : null}
    </main>
  );
}

function ToSignIn() {
  return (
    <Link to="/sign-in" className="text-accent underline underline-offset-2">
      {text("signIn.title")}
    </Link>
  );
}

function Offer({ offer, secret }: { offer: InvitationOffer; secret: string }) {
  const session = useSession();
  const accepting = useMutation({
    mutationFn: (body: { secret: string; password: string; mfa_code: string }) =>
      taken<Session>(api.POST("/api/v1/invitations:accept", { body })),
    onSuccess: (next) => setSession(next),
  });
  if (accepting.isSuccess && session) {
    return <Navigate to={session.mfa_setup_required ? "/second-factor" : "/conversations"} replace />;
  }
  const reason = accepting.error instanceof CallFailed ? accepting.error.reason : "";

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const password = new FormData(form).get("password");
    accepting.mutate({
      secret,
      password: typeof password === "string" ? password : "",
      mfa_code: formValue(form, "code"),
    });
  }

  return (
    <form onSubmit={onSubmit} className="flex flex-col gap-4" aria-label={text("invitation.title")}>
      <p>
        {text("invitation.offer", {
          organization: offer.organization_name,
          email: offer.email,
          role: text(`role.${offer.role}`),
        })}
      </p>
      <Field
        label={text(offer.password_exists ? "invitation.yourPassword" : "invitation.newPassword")}
        name="password"
        type="password"
        autoComplete={offer.password_exists ? "current-password" : "new-password"}
        required
        minLength={offer.password_exists ? 1 : PASSWORD_LENGTH_MIN}
        maxLength={256}
      />
      {CODE_REASONS.has(reason) ? (
        <CodeField problem={reason === "MFA_CODE_INVALID" ? sentence(accepting.error) : undefined} />
      ) : null}
      {accepting.isError && reason !== "MFA_CODE_INVALID" ? (
        <p role="alert" className={reason === "MFA_CODE_MISSING" ? undefined : "text-bad"}>
          {sentence(accepting.error)}
        </p>
      ) : null}
      <Button look="main" type="submit" disabled={accepting.isPending}>
        {text("invitation.accept")}
      </Button>
    </form>
  );
}
