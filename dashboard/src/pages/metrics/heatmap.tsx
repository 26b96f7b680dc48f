import type { HourHeatmap } from "../../api/types.ts";
import { i18n, text } from "../../texts/index.ts";

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const WEEKDAYS = [1, 2, 3, 4, 5, 6, 7] as const;
/** A Monday, for the names of the days. */
const MONDAY = new Date(2024, 0, 1);

function weekdayName(weekday: number): string {
  const day = new Date(MONDAY);
  day.setDate(MONDAY.getDate() + weekday - 1);
  return i18n.date(day, { weekday: "short" });
}

/** Messages by weekday and hour: a real table, whose cells are as dark as they are full. */
export function Heatmap({ heatmap }: { heatmap: HourHeatmap }) {
  const counts = new Map(heatmap.cells.map((cell) => [cell.weekday * HOURS.length + cell.hour, cell.count]));
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keyboard
    <section className="relative overflow-x-auto" tabIndex={0} aria-label={text("metrics.table")}>
      <table className="w-full min-w-3xl border-separate border-spacing-0.5 text-xs">
        <caption className="sr-only">{text("metrics.heatmap")}</caption>
        <thead>
          <tr>
            <th scope="col">
              <span className="sr-only">{text("metrics.day")}</span>
            </th>
            {HOURS.map((hour) => (
              <th key={hour} scope="col" className="font-normal text-soft">
                {hour}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {WEEKDAYS.map((weekday) => (
            <tr key={weekday}>
              <th scope="row" className="pr-2 text-left font-normal text-soft">
                {weekdayName(weekday)}
              </th>
              {HOURS.map((hour) => (
                <Cell
                  key={hour}
                  count={counts.get(weekday * HOURS.length + hour) ?? 0}
                  largest={heatmap.count_max}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The darkest shade still leaves its figure readable. */
const SHADE_PERCENT_MAX = 35;

function Cell({ count, largest }: { count: number; largest: number }) {
  const share = largest > 0 ? (count / largest) * SHADE_PERCENT_MAX : 0;
  return (
    <td
      data-cell={count}
      className="h-7 rounded text-center"
      style={{ background: `color-mix(in oklab, var(--accent) ${share}%, var(--quiet))` }}
    >
      {count > 0 ? i18n.number(count) : <span className="sr-only">{0}</span>}
    </td>
  );
}
