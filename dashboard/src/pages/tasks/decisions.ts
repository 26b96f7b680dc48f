import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, taken } from "../../api/client.ts";
import { CallFailed, sentence } from "../../api/problems.ts";
import { newRequestId } from "../../api/request-id.ts";
import { withStepUp } from "../../api/step-up.ts";
import type { Task } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { notify } from "../../ui/notices.tsx";
import { refetchContacts } from "../contacts/following.ts";
import { useUndoMerges } from "../contacts/merging.ts";
import { putTask } from "./facts.ts";
import { taskKeys } from "./queries.ts";

export type Decision = { kind: "merge" | "link"; survivor: string } | { kind: "reject" };

async function decide(task: Task, decision: Decision, requestId: string): Promise<Task> {
  const path = { reconciliation_task_id: task.reconciliation_task_id };
  if (decision.kind === "reject") {
    return taken<Task>(
      api.POST("/api/v1/reconciliation-tasks/{reconciliation_task_id}:reject", {
        params: { path },
        body: { etag: task.etag, request_id: requestId },
      }),
    );
  }
  return taken<Task>(
    api.POST("/api/v1/reconciliation-tasks/{reconciliation_task_id}:accept", {
      params: { path },
      body: {
        surviving_contact_id: decision.survivor,
        merge: decision.kind === "merge",
        etag: task.etag,
        request_id: requestId,
      },
    }),
  );
}

/** Somebody was faster. */
const MEANWHILE = new Set(["TASK_DECIDED", "ETAG_STALE"]);

/** Decides a task; what was merged can be undone from the notice, and later from the contact. */
export function useDecide(task: Task) {
  const client = useQueryClient();
  const undo = useUndoMerges();
  return useMutation({
    mutationFn: (decision: Decision) => {
      const requestId = newRequestId();
      return withStepUp(() => decide(task, decision, requestId));
    },
    onSuccess: (decided) => {
      putTask(client, decided);
      const merges = decided.contact_merge_ids;
      if (merges.length > 0) refetchContacts(client);
      notify(text(decided.state === "REJECTED" ? "task.rejected" : decided.merged ? "task.merged" : "task.linked"), {
        action: merges.length > 0 ? { label: text("action.undo"), run: () => undo.mutate(merges) } : undefined,
      });
    },
    onError: (error) => {
      if (!(error instanceof CallFailed) || !MEANWHILE.has(error.reason)) return;
      // The question leaves the list, and the sentence with it.
      notify(sentence(error), { tone: "bad" });
      void client.invalidateQueries({ queryKey: taskKeys.lists });
      void client.invalidateQueries({ queryKey: taskKeys.conflict(task.identity_conflict_id) });
    },
  });
}
