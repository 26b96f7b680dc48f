import { Ban, Check, CheckCheck, CircleAlert, CircleQuestionMark, Clock, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import type { Attachment, Message } from "../../api/types.ts";
import { clockTime, fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { DeliveryLine, PendingLine } from "./delivery.tsx";
import type { Pending } from "./pending.ts";

/** So much of one message is drawn; whoever pastes a book does not stop the page. */
const SHOWN_LENGTH = 4_000;

export function MessageBubble({ message, again }: { message: Message; again: boolean }) {
  const ours = message.direction === "OUTBOUND";
  return (
    <article
      data-message={message.message_id}
      data-state={ours ? message.state : undefined}
      className={classes("flex flex-col", ours ? "items-end" : "items-start")}
      aria-label={text(ours ? "message.ours" : "message.theirs", { name: message.author_name })}
    >
      <Bubble ours={ours} who={ours ? whoSaidIt(message) : null} time={message.create_time} tick={ours ? <Tick message={message} /> : null}>
        <Body message={message} />
      </Bubble>
      {message.reactions.length > 0 ? (
        <p className="-mt-1.5 flex gap-1 rounded-full border border-line bg-card px-1.5 text-sm">
          {message.reactions.map((reaction) => (
            <span
              key={`${reaction.author}:${reaction.author_name}`}
              title={text("message.reaction", { name: reaction.author_name })}
            >
              {reaction.text}
            </span>
          ))}
        </p>
      ) : null}
      {ours ? <DeliveryLine message={message} again={again} /> : null}
    </article>
  );
}

/** What a person has just sent, before the server's answer. */
export function PendingBubble({ pending }: { pending: Pending }) {
  const { state } = pending;
  const tick =
    state === "ASKING" ? (
      <Named Icon={Clock} name={text("messageState.SENDING")} className="size-4" />
    ) : (
      <Worded Icon={CircleAlert} name={text(state === "REFUSED" ? "messageState.SUPPRESSED" : "message.unconfirmed")} />
    );
  return (
    <article data-pending={state} className="flex flex-col items-end" aria-label={text("message.yours")}>
      <Bubble ours who={null} time={pending.time} tick={tick}>
        <p dir="auto" className="whitespace-pre-wrap">
          {pending.text}
        </p>
      </Bubble>
      <PendingLine pending={pending} />
    </article>
  );
}

interface BubbleProps {
  ours: boolean;
  who: string | null;
  time: string | null;
  tick: ReactNode;
  children: ReactNode;
}

function Bubble({ ours, who, time, tick, children }: BubbleProps) {
  return (
    <div
      className={classes(
        "max-w-[85%] rounded-2xl border border-line px-3 py-2 [overflow-wrap:anywhere] md:max-w-[70%]",
        ours ? "rounded-br-sm bg-mine" : "rounded-bl-sm bg-card",
      )}
    >
      {children}
      <p className="mt-1 flex items-center justify-end gap-1.5 text-xs text-soft">
        {who ? <span>{who}</span> : null}
        {time ? (
          <time dateTime={time} title={fullTime(time)}>
            {clockTime(time)}
          </time>
        ) : null}
        {tick}
      </p>
    </div>
  );
}

function Body({ message }: { message: Message }) {
  if (message.deleted) {
    return (
      <p className="text-soft italic">
        {text(message.deleted_by_contact ? "message.deletedByContact" : "message.deleted")}
      </p>
    );
  }
  return (
    <>
      {message.attachments.map((attachment, index) => (
        // oxlint-disable-next-line react/no-array-index-key -- a file has no other name than its place
        <File key={index} attachment={attachment} />
      ))}
      {message.text ? (
        <p dir="auto" className="whitespace-pre-wrap">
          {message.text.slice(0, SHOWN_LENGTH)}
          {message.text.length > SHOWN_LENGTH ? text("message.cut") : ""}
        </p>
      ) : null}
      {message.submitted_values.map((value) => (
        <p key={value.name} dir="auto" className="text-sm text-soft">
          {`${value.name ? `${value.name}: ` : ""}${value.title || value.value}`}
        </p>
      ))}
    </>
  );
}

/** A link, not a picture: the page loads nothing from places that others name. */
function File({ attachment }: { attachment: Attachment }) {
  const name = attachment.name || text("message.file", { type: attachment.type });
  if (!/^https?:\/\//.test(attachment.url)) return <p className="text-sm text-soft">{name}</p>;
  return (
    <p>
      <a
        href={attachment.url}
        target="_blank"
        rel="noopener noreferrer"
        className="text-accent underline underline-offset-2"
      >
        <bdi>{name}</bdi>
      </a>
    </p>
  );
}

function whoSaidIt(message: Message): string {
  if (message.author === "AGENT") return message.author_name || text("author.AGENT");
  return text(`author.${message.author}`);
}

function Tick({ message }: { message: Message }) {
  const name = text(`messageState.${message.state === "UNSPECIFIED" ? "SENT" : message.state}`);
  switch (message.state) {
    case "FAILED":
      return <Worded Icon={CircleAlert} name={name} />;
    case "SUPPRESSED":
    case "CANCELLED":
      return <Worded Icon={Ban} name={name} />;
    case "UNCERTAIN":
      return <Worded Icon={CircleQuestionMark} name={name} className="text-warn" />;
    case "QUEUED":
    case "SENDING":
      return <Named Icon={Clock} name={name} className="size-4" />;
    case "READ":
      return <Named Icon={CheckCheck} name={name} className="size-4 text-good" />;
    case "DELIVERED":
      return <Named Icon={CheckCheck} name={name} className="size-4" />;
    default:
      return <Named Icon={Check} name={name} className="size-4" />;
  }
}

function Worded({ Icon, name, className = "text-bad" }: { Icon: LucideIcon; name: string; className?: string }) {
  return (
    <span className={classes("flex items-center gap-1", className)}>
      <Icon aria-hidden="true" className="size-3.5" />
      {name}
    </span>
  );
}

function Named({ Icon, name, className }: { Icon: LucideIcon; name: string; className: string }) {
  return (
    <span title={name}>
      <Icon aria-hidden="true" className={className} />
      <span className="sr-only">{name}</span>
    </span>
  );
}
