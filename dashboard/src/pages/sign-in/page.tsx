import { useMutation } from "@tanstack/react-query";
import { Navigate } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { Preferences } from "../../app/preferences.tsx";
import { sentence } from "../../api/problems.ts";
import { useSession } from "../../api/session.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Field } from "../../ui/field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { Wordmark } from "../../ui/wordmark.tsx";
import { signIn } from "./sign-in.ts";

export function SignInPage({ back }: { back: string | undefined }) {
  const session = useSession();
  const signingIn = useMutation({ mutationFn: signIn });
  if (session) return <Navigate to={pageOf(back)} replace />;

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const password = new FormData(form).get("password");
    signingIn.mutate({
      email: formValue(form, "email"),
      password: typeof password === "string" ? password : "",
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
        {signingIn.isError ? (
          <p role="alert" className="text-bad">
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

/** Where to go after the sign-in: only ever a page of ours, whatever stands in the address. */
export function pageOf(back: string | undefined): string {
  if (!back) return "/conversations";
  const address = new URL(back, window.location.origin);
  return address.origin === window.location.origin && back.startsWith("/") && !back.startsWith("//")
    ? back
    : "/conversations";
}
