import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { itemsOf } from "../../api/pages.ts";
import { text } from "../../texts/index.ts";
import { Choice } from "../../ui/choice.tsx";
import { More } from "../../ui/more.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { TASK_STATES, tasksQuery } from "./queries.ts";
import { TaskCard } from "./task.tsx";

/** What people must decide about who is who. */
export function TasksPage() {
  const { task_state: state = "OPEN" } = useSearch({ from: "/shell/tasks" });
  const navigate = useNavigate({ from: "/tasks" });
  const query = useInfiniteQuery(tasksQuery(state));
  const tasks = itemsOf(query.data);
  return (
    <div className="flex h-full flex-col">
      <div className="flex items-center gap-3 border-b border-line p-3">
        <h1 className="font-semibold">{text("tasks.title")}</h1>
        <Choice
          className="ml-auto w-40"
          label={text("tasks.state")}
          value={state}
          options={TASK_STATES.map((value) => ({ value, label: text(`taskState.${value}`) }))}
          onChange={(value) => void navigate({ search: { task_state: value }, replace: true })}
        />
      </div>
      {query.isPending ? <Loading /> : null}
      {query.isError && !query.data ? <Failed error={query.error} onRetry={() => void query.refetch()} /> : null}
      {query.isSuccess && tasks.length === 0 ? (
        <Empty sentence={text(state === "OPEN" ? "tasks.empty" : "tasks.emptyFiltered")} />
      ) : null}
      {tasks.length > 0 ? (
        <Scroller label={text("tasks.list")} className="min-h-0 flex-1 overflow-y-auto">
          <ul className="mx-auto flex max-w-3xl flex-col gap-3 p-3">
            {tasks.map((task) => (
              <TaskCard key={task.reconciliation_task_id} task={task} />
            ))}
          </ul>
          <More query={query} />
        </Scroller>
      ) : null}
    </div>
  );
}
