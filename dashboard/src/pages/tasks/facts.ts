import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { dropItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { Task } from "../../api/types.ts";
import { taskKeys, type TaskState } from "./queries.ts";

/** Brings the lists of tasks to where a fact says they are; answers whether the fact was of that kind. */
export function applyTaskFact(client: QueryClient, fact: Fact): boolean {
  if (!fact.type.startsWith("prosa.crm.v1.ReconciliationTask")) return false;
  putTask(client, (fact.data as unknown as { task: Task }).task);
  return true;
}

export function putTask(client: QueryClient, task: Task): void {
  const same = (other: Task): boolean => other.reconciliation_task_id === task.reconciliation_task_id;
  for (const query of client.getQueryCache().findAll({ queryKey: taskKeys.lists })) {
    const { state } = query.queryKey[1] as { state: TaskState };
    client.setQueryData<Paged<Task>>(
      query.queryKey,
      (paged) => paged && (state === task.state ? raiseItem(paged, same, task) : dropItem(paged, same)),
    );
  }
  void client.invalidateQueries({ queryKey: taskKeys.conflict(task.identity_conflict_id) });
}
