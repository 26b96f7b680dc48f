import { lazy, Suspense, useState } from "react";
import type { DialogProps } from "./dialog-window.tsx";

/** What windows are made of is large, and comes with the first one that is opened. */
const DialogWindow = lazy(() => import("./dialog-window.tsx").then((module) => ({ default: module.DialogWindow })));

/** A window over the page; the focus stays in it until it is closed, and goes back to where it came from. */
export function Dialog(props: DialogProps) {
  const [needed, setNeeded] = useState(props.open);
  if (props.open && !needed) setNeeded(true);
  return needed ? (
    <Suspense>
      <DialogWindow {...props} />
    </Suspense>
  ) : null;
}
