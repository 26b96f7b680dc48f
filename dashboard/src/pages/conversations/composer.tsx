import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { SendHorizontal } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useId, useRef } from "react";
import { killSwitchQuery } from "../../api/kill-switch.ts";
import { itemsOf } from "../../api/pages.ts";
import { may, useSession } from "../../api/session.ts";
import type { Conversation } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { useOnline } from "../../ui/use-online.ts";
import { numbersQuery } from "../numbers/queries.ts";
import { type Blocked, blocked } from "./blocked.ts";
import { keepDraft, takeDraft, useDraft } from "./drafts.ts";
import { connectionQuery } from "./queries.ts";
import { send } from "./sending.ts";

/** So many letters the server takes; they are counted as it counts them, an emoji as one. */
export const TEXT_LENGTH_MAX = 4_096;
/** From so many letters before the limit on it is said how many are left. */
const NEAR_LIMIT = 200;

/** Where a person answers: Enter sends, Shift and Enter begin a line, and what is typed waits here for its conversation. */
export function Composer({ conversation }: { conversation: Conversation }) {
  const session = useSession();
  const reason = useBlocked(conversation);
  if (!may("AGENT", session)) {
    return <p className="border-t border-line bg-card p-4 text-sm text-soft">{reason?.sentence}</p>;
  }
  return <Form conversation={conversation} reason={reason} />;
}

function Form({ conversation, reason }: { conversation: Conversation; reason: Blocked | undefined }) {
  const { conversation_id: conversationId } = conversation;
  const client = useQueryClient();
  const draft = useDraft(conversationId);
  const field = useRef<HTMLTextAreaElement>(null);
  const hintId = useId();
  const left = TEXT_LENGTH_MAX - lettersOf(draft);
  const sendable = !reason && left >= 0 && draft.trim() !== "";

  function submit(): void {
    field.current?.focus();
    if (!sendable) return;
    const taken = takeDraft(conversationId);
    if (taken) send(client, conversationId, taken);
  }

  function onSubmit(event: FormEvent): void {
    event.preventDefault();
    submit();
  }

  function onKeyDown(event: KeyboardEvent): void {
    // Whoever writes with an input method ends a word with Enter, not the message.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    if (!event.repeat) submit();
  }

  return (
    <form onSubmit={onSubmit} className="border-t border-line bg-card px-3 py-2" data-composer={reason ? "blocked" : "open"}>
      <div className="flex items-end gap-2">
        <textarea
          ref={field}
          rows={1}
          dir="auto"
          value={draft}
          onChange={(event) => keepDraft(conversationId, event.target.value)}
          onKeyDown={onKeyDown}
          enterKeyHint="send"
          aria-label={text("composer.label")}
          aria-describedby={hintId}
          aria-invalid={left < 0 ? true : undefined}
          placeholder={text("composer.answer")}
          className="field-sizing-content max-h-40 min-h-10 min-w-0 flex-1 resize-none rounded-lg border border-edge bg-card px-3 py-2 text-ink placeholder:text-soft aria-invalid:border-bad"
        />
        <Button look="main" type="submit" disabled={!sendable} className="min-h-10">
          <SendHorizontal aria-hidden="true" className="size-4" />
          <span className="sr-only md:not-sr-only">{text("composer.send")}</span>
        </Button>
      </div>
      <div className="mt-1 flex gap-3 text-xs">
        <Hint id={hintId} conversation={conversation} reason={reason} />
        <output className={left < 0 ? "shrink-0 text-bad" : "shrink-0 text-soft"}>
          {left <= NEAR_LIMIT ? text(left < 0 ? "composer.tooLong" : "composer.left", { count: Math.abs(left) }) : null}
        </output>
      </div>
    </form>
  );
}

/** Why nothing can be sent, else what an answer does besides. */
function Hint({ id, conversation, reason }: { id: string; conversation: Conversation; reason: Blocked | undefined }) {
  return (
    <p id={id} role={reason ? "alert" : undefined} className={reason ? "min-w-0 flex-1 text-warn" : "min-w-0 flex-1 text-soft"}>
      {reason?.sentence ?? text(conversation.handoff?.mode === "HUMAN" ? "composer.keys" : "composer.takesOver")}
      {reason?.cure === "numbers" ? (
        <>
          {" "}
          <Link to="/numbers" className="underline underline-offset-2">
            {text("composer.toNumbers")}
          </Link>
        </>
      ) : null}
    </p>
  );
}

function useBlocked(conversation: Conversation): Blocked | undefined {
  const session = useSession();
  const answers = may("AGENT", session);
  const killSwitch = useQuery({ ...killSwitchQuery, enabled: answers }).data;
  const connection = useQuery({ ...connectionQuery(conversation.connection_id), enabled: answers }).data;
  const numbers = useInfiniteQuery({ ...numbersQuery, enabled: answers && connection?.provider === "EVOLUTION" }).data;
  const instance = itemsOf(numbers).find((number) => number.channel_id === conversation.channel_id);
  return blocked({ session, online: useOnline(), conversation, killSwitch, connection, instance });
}

/** How many letters the server counts. */
export function lettersOf(typed: string): number {
  // What is far too long need not be counted letter by letter.
  return typed.length > 2 * TEXT_LENGTH_MAX ? typed.length : Array.from(typed.trim()).length;
}
