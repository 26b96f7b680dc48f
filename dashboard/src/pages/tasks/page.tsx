import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { text } from "../../texts/index.ts";
import { Choice } from "../../ui/choice.tsx";
import { PagedList } from "../../ui/list.tsx";
import { Empty } from "../../ui/states.tsx";
import { TASK_STATES, tasksQuery } from "./queries.ts";
import { TaskCard } from "./task.tsx";

/** What people must decide about who is who. */
export function TasksPage() {
  const { task_state: state = "OPEN" } = useSearch({ from: "/shell/tasks" });
  const navigate = useNavigate({ from: "/tasks" });
  const query = useInfiniteQuery(tasksQuery(state));
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
      <PagedList
        query={query}
        label={text("tasks.list")}
        empty={<Empty sentence={text(state === "OPEN" ? "tasks.empty" : "tasks.emptyFiltered")} />}
        className="mx-auto flex max-w-3xl flex-col gap-3 p-3"
      >
        {(task) => <TaskCard key={task.reconciliation_task_id} task={task} />}
      </PagedList>
    </div>
  );
}
