import { useMutation } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { api, taken } from "../../api/client.ts";
import { CallFailed, sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { Instance } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { formValue } from "../../ui/form-value.ts";
import { AccessFields } from "./access-fields.tsx";

interface Access {
  base_url: string;
  access_token: string;
  request_id: string;
}

/** Asks where a number's Evolution really is, and for its key: it is asked again at once. */
export function CorrectNumber({ instance, onClose }: { instance: Instance; onClose: () => void }) {
  const correcting = useMutation({
    mutationFn: (body: Access) => {
      const path = { connection_id: instance.connection_id };
      return withStepUp(() =>
        taken<unknown>(api.PATCH("/api/v1/connections/{connection_id}", { params: { path }, body })),
      );
    },
    onSuccess: onClose,
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    correcting.mutate({
      base_url: formValue(form, "base_url"),
      access_token: formValue(form, "access_token"),
      request_id: newRequestId(),
    });
  }

  const violations = correcting.error instanceof CallFailed ? correcting.error.violations : [];
  const problem = (field: string): string | undefined =>
    violations.find((violation) => violation.field === field)?.description;
  return (
    <Dialog open onClose={onClose} title={text("numbers.correct")}>
      <form onSubmit={onSubmit} className="flex flex-col gap-4">
        <AccessFields problem={problem} />
        {correcting.isError && violations.length === 0 ? (
          <p role="alert" className="text-bad">
            {sentence(correcting.error)}
          </p>
        ) : null}
        <Button look="main" type="submit" disabled={correcting.isPending}>
          {text("numbers.correct")}
        </Button>
      </form>
    </Dialog>
  );
}
