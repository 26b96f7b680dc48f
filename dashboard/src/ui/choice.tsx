import { useId } from "react";
import { classes } from "./classes.ts";

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
  className?: string;
}

/**
 * A labelled list to choose one from; the browser's own, which every device knows how to show. Its label, out of sight,
 * stays inside: elsewhere it would widen a page whose part scrolls.
 */
export function Choice<T extends string>({ label, value, options, onChange, className }: ChoiceProps<T>) {
  const id = useId();
  return (
    <div className={classes("relative", className)}>
      <label htmlFor={id} className="sr-only">
        {label}
      </label>
      <select
        id={id}
        value={value}
        onChange={(event) => onChange(event.target.value as T)}
        className="min-h-9 w-full rounded-lg border border-edge bg-card px-2 py-1.5 text-ink"
      >
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  );
}
