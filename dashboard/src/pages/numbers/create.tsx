import { useMutation } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { api, taken } from "../../api/client.ts";
import { CallFailed, sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { withStepUp } from "../../api/step-up.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field } from "../../ui/field.tsx";
import { formValue } from "../../ui/form-value.ts";
import { AccessFields } from "./access-fields.tsx";

interface NewNumber {
  name: string;
  phone: string;
  base_url: string;
  access_token: string;
  request_id: string;
}

/** Asks for what a number needs: a name, and where its Evolution is. */
export function CreateNumber({ onClose, onCreated }: { onClose: () => void; onCreated: (instanceId: string) => void }) {
  const creating = useMutation({
    mutationFn: (body: NewNumber) =>
      withStepUp(() => taken<{ instance_id: string }>(api.POST("/api/v1/instances", { body }))),
    onSuccess: ({ instance_id }) => {
      onClose();
      onCreated(instance_id);
    },
  });

  function onSubmit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    creating.mutate({
      name: formValue(form, "name"),
      phone: formValue(form, "phone"),
      base_url: formValue(form, "base_url"),
      access_token: formValue(form, "access_token"),
      request_id: newRequestId(),
    });
  }

  const violations = creating.error instanceof CallFailed ? creating.error.violations : [];
  const problem = (field: string): string | undefined =>
    violations.find((violation) => violation.field === field)?.description;
  return (
    <Dialog open onClose={onClose} title={text("numbers.create")}>
      <form onSubmit={onSubmit} className="flex flex-col gap-4">
        <Field label={text("numbers.name")} name="name" required maxLength={200} problem={problem("name")} />
        <Field label={text("numbers.phone")} name="phone" type="tel" maxLength={32} problem={problem("phone")} />
        <AccessFields problem={problem} />
        {creating.isError && violations.length === 0 ? (
          <p role="alert" className="text-bad">
            {sentence(creating.error)}
          </p>
        ) : null}
        <Button look="main" type="submit" disabled={creating.isPending}>
          {text("numbers.create")}
        </Button>
      </form>
    </Dialog>
  );
}
