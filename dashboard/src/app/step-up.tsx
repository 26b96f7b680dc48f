import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { api, taken } from "../api/client.ts";
import { sentence } from "../api/problems.ts";
import { setSession, useSession } from "../api/session.ts";
import { onStepUp } from "../api/step-up.ts";
import type { Session } from "../api/types.ts";
import { text } from "../texts/index.ts";
import { Button } from "../ui/button.tsx";
import { CodeField } from "../ui/code-field.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { formValue } from "../ui/form-value.ts";

/** Asks for a code whenever a call needs one. */
export function StepUp() {
  const [settle, setSettle] = useState<((shown: boolean) => void) | null>(null);
  useEffect(() => onStepUp(() => new Promise<boolean>((resolve) => setSettle(() => resolve))), []);

  function close(shown: boolean): void {
    settle?.(shown);
    setSettle(null);
  }

  return (
    <Dialog open={settle !== null} onClose={() => close(false)} title={text("stepUp.title")}>
      <Code onShown={() => close(true)} onGivenUp={() => close(false)} />
    </Dialog>
  );
}

function Code({ onShown, onGivenUp }: { onShown: () => void; onGivenUp: () => void }) {
  const session = useSession();
  const verifying = useMutation({
    mutationFn: (code: string) => taken<Session>(api.POST("/api/v1/session:verify", { body: { mfa_code: code } })),
    onSuccess: (next) => {
      setSession(next);
      onShown();
    },
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    verifying.mutate(formValue(event.currentTarget, "code"));
  }

  if (!session?.mfa_set_up) {
    return (
      <>
        <p>{text("stepUp.setUpFirst")}</p>
        <Link to="/second-factor" onClick={onGivenUp} className="text-accent underline underline-offset-2">
          {text("secondFactor.title")}
        </Link>
      </>
    );
  }
  return (
    <form onSubmit={onSubmit} className="flex flex-col gap-4">
      <p className="text-soft">{text("stepUp.why")}</p>
      <CodeField problem={verifying.isError ? sentence(verifying.error) : undefined} />
      <Button look="main" type="submit" disabled={verifying.isPending}>
        {text("action.confirm")}
      </Button>
    </form>
  );
}
