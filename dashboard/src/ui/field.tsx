import { type ComponentProps, useId } from "react";
import { classes } from "./classes.ts";

interface FieldProps extends ComponentProps<"input"> {
  label: string;
  problem?: string | undefined;
}

/** A labelled input with the sentence about what is wrong in it. */
export function Field({ label, problem, className, ...rest }: FieldProps) {
  const id = useId();
  return (
    <div className={classes("flex flex-col gap-1", className)}>
      <label htmlFor={id} className="font-medium">
        {label}
      </label>
      <input
        id={id}
        aria-invalid={problem ? true : undefined}
        aria-describedby={problem ? `${id}-problem` : undefined}
        className="min-h-10 rounded-lg border border-edge bg-card px-3 py-2 text-ink placeholder:text-soft aria-invalid:border-bad"
        {...rest}
      />
      {problem ? (
        <p id={`${id}-problem`} className="text-sm text-bad">
          {problem}
        </p>
      ) : null}
    </div>
  );
}
