import { useParams } from "@tanstack/react-router";
import { text } from "../../texts/index.ts";
import { ListAndOne } from "../../ui/list.tsx";
import { ConversationList } from "./list.tsx";

/** The list, and the thread beside it; on a narrow screen one of the two. */
export function ConversationsPage() {
  const { conversationId } = useParams({ strict: false });
  return (
    <ListAndOne
      title={text("conversations.title")}
      open={Boolean(conversationId)}
      choose={text("conversations.choose")}
    >
      <ConversationList selectedId={conversationId} />
    </ListAndOne>
  );
}
