import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { Board } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Choice } from "../../ui/choice.tsx";
import { Scroller } from "../../ui/scroller.tsx";
import { ConnectNumber } from "../../ui/empty-actions.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { Column } from "./column.tsx";
import { boardsQuery, totalsQuery } from "./queries.ts";

/** The board that the address names, else the default one. */
export function BoardPage() {
  const { board: wanted } = useSearch({ from: "/shell/board" });
  const query = useQuery(boardsQuery);
  if (query.isPending) return <Loading />;
  if (query.isError && !query.data) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  const boards = query.data ?? [];
  const board =
    boards.find((board) => board.board_id === wanted || board.key === wanted) ??
    boards.find((board) => board.default_board) ??
    boards[0];
  if (!board) return <Empty sentence={text("board.none")} action={<ConnectNumber />} />;
  return <Stages board={board} boards={boards} />;
}

function Stages({ board, boards }: { board: Board; boards: Board[] }) {
  const navigate = useNavigate({ from: "/board" });
  const totals = useQuery(totalsQuery(board.board_id));
  return (
    <div className="flex h-full flex-col">
      <div className="flex items-center gap-3 border-b border-line p-3">
        <h1 className="font-semibold">{board.name}</h1>
        {boards.length > 1 ? (
          <Choice
            className="ml-auto w-48"
            label={text("board.choose")}
            value={board.board_id}
            options={boards.map((other) => ({ value: other.board_id, label: other.name }))}
            onChange={(value) => void navigate({ search: { board: value } })}
          />
        ) : null}
      </div>
      <Scroller label={text("board.stages")} className="min-h-0 flex-1 overflow-x-auto">
        <ol className="flex h-full w-max gap-3 p-3">
          {board.stages.map((stage) => (
            <Column
              key={stage.stage_id}
              board={board}
              stage={stage}
              total={totals.data?.stages.find((total) => total.stage_id === stage.stage_id)}
            />
          ))}
        </ol>
      </Scroller>
    </div>
  );
}
