import type { ReactNode } from "react";

interface ScrollerProps {
  label: string;
  className: string;
  children: ReactNode;
}

/** A part that scrolls by itself; it takes the focus, so that the arrow keys scroll it. */
export function Scroller({ label, className, children }: ScrollerProps) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keyboard
    <section tabIndex={0} aria-label={label} className={`-outline-offset-2 ${className}`}>
      {children}
    </section>
  );
}
