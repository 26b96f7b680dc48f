import type { ComponentProps } from "react";
import { classes } from "./classes.ts";

const LOOKS = {
  main: "bg-accent text-on-accent hover:opacity-90",
  plain: "border border-edge bg-card text-ink hover:bg-quiet",
  bare: "text-ink hover:bg-quiet",
  danger: "border border-bad text-bad hover:bg-quiet",
} as const;

interface ButtonProps extends ComponentProps<"button"> {
  look?: keyof typeof LOOKS;
}

export function Button({ look = "plain", className, type = "button", ...rest }: ButtonProps) {
  return (
    <button
      // oxlint-disable-next-line react/button-has-type -- the default is a button, a form names its own
      type={type}
      className={classes(
        "inline-flex min-h-9 items-center justify-center gap-2 rounded-lg px-3 py-1.5 font-medium",
        "disabled:opacity-55",
        LOOKS[look],
        className,
      )}
      {...rest}
    />
  );
}
