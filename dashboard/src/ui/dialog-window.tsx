import { Dialog as Base } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { text } from "../texts/index.ts";

export interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: string;
  children: ReactNode;
}

/** A window over the page; the focus stays in it until it is closed, and goes back to where it came from. */
export function DialogWindow({ open, onClose, title, children }: DialogProps) {
  return (
    <Base.Root open={open} onOpenChange={(next) => (next ? undefined : onClose())}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-30 bg-black/40" />
        <Base.Popup className="fixed top-1/2 left-1/2 z-30 flex max-h-[90dvh] w-[min(28rem,calc(100vw-1.5rem))] -translate-x-1/2 -translate-y-1/2 flex-col gap-4 overflow-y-auto rounded-2xl border border-line bg-card p-5 text-ink shadow-xl">
          <div className="flex items-start gap-3">
            <Base.Title className="flex-1 text-lg font-semibold">{title}</Base.Title>
            <Base.Close aria-label={text("action.close")} className="rounded p-1 text-soft hover:bg-quiet">
              <X aria-hidden="true" className="size-5" />
            </Base.Close>
          </div>
          {children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
