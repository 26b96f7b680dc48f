import { Check, CheckCheck, CircleAlert, type LucideIcon } from "lucide-react";
import type { Attachment, Message } from "../../api/types.ts";
import { clockTime, fullTime } from "../../texts/formats.ts";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";

/** So much of one message is drawn; whoever pastes a book does not stop the page. */
const SHOWN_LENGTH = 4_000;

export function MessageBubble({ message }: { message: Message }) {
  const ours = message.direction === "OUTBOUND";
  return (
    <article
      data-message={message.message_id}
      className={classes("flex flex-col", ours ? "items-end" : "items-start")}
      aria-label={text(ours ? "message.ours" : "message.theirs", { name: message.author_name })}
    >
      <div
        className={classes(
          "max-w-[85%] rounded-2xl border border-line px-3 py-2 [overflow-wrap:anywhere] md:max-w-[70%]",
          ours ? "rounded-br-sm bg-mine" : "rounded-bl-sm bg-card",
        )}
      >
        <Body message={message} />
        <p className="mt-1 flex items-center justify-end gap-1.5 text-xs text-soft">
          {ours ? <span>{whoSaidIt(message)}</span> : null}
          {message.create_time ? (
            <time dateTime={message.create_time} title={fullTime(message.create_time)}>
              {clockTime(message.create_time)}
            </time>
          ) : null}
          {ours ? <Tick message={message} /> : null}
        </p>
      </div>
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
    </article>
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
  switch (message.state) {
    case "FAILED":
      return (
        <span className="flex items-center gap-1 text-bad" title={message.error_message}>
          <CircleAlert aria-hidden="true" className="size-3.5" />
          {text("messageState.FAILED")}
        </span>
      );
    case "READ":
      return <Named Icon={CheckCheck} name={text("messageState.READ")} className="size-4 text-good" />;
    case "DELIVERED":
      return <Named Icon={CheckCheck} name={text("messageState.DELIVERED")} className="size-4" />;
    default:
      return <Named Icon={Check} name={text("messageState.SENT")} className="size-4" />;
  }
}

function Named({ Icon, name, className }: { Icon: LucideIcon; name: string; className: string }) {
  return (
    <span title={name}>
      <Icon aria-hidden="true" className={className} />
      <span className="sr-only">{name}</span>
    </span>
  );
}
