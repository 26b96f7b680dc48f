import { Outlet, useParams } from "@tanstack/react-router";
import { text } from "../../texts/index.ts";
import { classes } from "../../ui/classes.ts";
import { ConversationList } from "./list.tsx";

/** The list, and the thread beside it; on a narrow screen one of the two. */
export function ConversationsPage() {
  const { conversationId } = useParams({ strict: false });
  return (
    <div className="flex h-full">
      <section
        aria-label={text("conversations.title")}
        className={classes(
          "min-h-0 w-full flex-col border-line md:flex md:w-80 md:border-r lg:w-96",
          conversationId ? "hidden" : "flex",
        )}
      >
        <ConversationList selectedId={conversationId} />
      </section>
      <div className={classes("min-h-0 min-w-0 flex-1 md:block", conversationId ? "block" : "hidden")}>
        {conversationId ? (
          <Outlet />
        ) : (
          <p className="hidden h-full place-items-center text-soft md:grid">{text("conversations.choose")}</p>
        )}
      </div>
    </div>
  );
}
