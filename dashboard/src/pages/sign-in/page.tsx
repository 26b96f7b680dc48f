import { useMutation } from "@tanstack/react-query";
import { Navigate } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { pageOf } from "../../app/page-of.ts";
import { Preferences } from "../../app/preferences.tsx";
import { CallFailed, sentence } from "../../api/problems.ts";
import { useSession } from "../../api/session.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { CodeField } from "../../ui/code-field.tsx";
import { Field } from "../../ui/field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { Wordmark } from "../../ui/wordmark.tsx";
import { signIn } from "./sign-in.ts";

const CODE_REASONS = new Set(["MFA_CODE_MISSING", "MFA_CODE_INVALID"]);

export function SignInPage({ back }: { back: string | undefined }) {
  const session = useSession();
  const signingIn = useMutation({ mutationFn: signIn });
  if (session?.mfa_setup_required) return <Navigate to="/second-factor" search={{ back }} replace />;
  if (session) return <Navigate to={pageOf(back)} replace />;

  const reason = signingIn.error instanceof CallFailed ? signingIn.error.reason : "";
  // Asked for only once the password was right.
  const codeAsked = CODE_REASONS.has(reason) || (signingIn.isPending && Boolean(signingIn.variables?.mfa_code));

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const password = new FormData(form).get("password");
    signingIn.mutate({
      email: formValue(form, "email"),
      password: typeof password === "string" ? password : "",
      mfa_code: formValue(form, "code"),
    });
  }

  return (
    <main className="mx-auto flex min-h-full max-w-sm flex-col justify-center gap-6 p-6">
      <h1 className="text-4xl">
        <Wordmark />
        <span className="sr-only">{text("signIn.title")}</span>
      </h1>
      <form onSubmit={onSubmit} className="flex flex-col gap-4" aria-label={text("signIn.title")}>
        <Field label={text("signIn.email")} name="email" type="email" autoComplete="username" required maxLength={320} />
        <Field
          label={text("signIn.password")}
          name="password"
          type="password"
          autoComplete="current-password"
          required
          maxLength={256}
        />
        {codeAsked ? (
          <CodeField problem={reason === "MFA_CODE_INVALID" ? sentence(signingIn.error) : undefined} />
        ) : null}
        {signingIn.isError && reason !== "MFA_CODE_INVALID" ? (
          <p role="alert" className={reason === "MFA_CODE_MISSING" ? undefined : "text-bad"}>
            {sentence(signingIn.error)}
          </p>
        ) : null}
        <Button look="main" type="submit" disabled={signingIn.isPending}>
          {signingIn.isPending ? text("signIn.pending") : text("signIn.submit")}
        </Button>
      </form>
      <div className="flex gap-3">
        <Preferences />
      </div>
    </main>
  );
}
