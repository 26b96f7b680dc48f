import type { Script } from "../../api/types.ts";
import { i18n, text } from "../../texts/index.ts";

const WEEKDAYS = [1, 2, 3, 4, 5, 6, 7] as const;
/** A Monday, for the names of the days. */
const MONDAY = new Date(2024, 0, 1);

function weekdayName(weekday: number): string {
  const day = new Date(MONDAY);
  day.setDate(MONDAY.getDate() + weekday - 1);
  return i18n.date(day, { weekday: "long" });
}

/** Minutes after midnight as a clock shows them there: no time zone of the browser has a say. */
function minuteName(minute: number): string {
  const day = new Date(MONDAY);
  day.setHours(0, minute);
  return i18n.date(day, { hour: "2-digit", minute: "2-digit" });
}

/** The windows of a script's week, day by day. */
export function Week({ script }: { script: Script }) {
  return (
    <section>
      <h2 className="mb-2 font-semibold">{text("script.week")}</h2>
      <p className="mb-2 text-sm text-soft">{text("script.zone", { zone: script.time_zone })}</p>
      {script.windows.length === 0 ? <p className="text-soft">{text("script.noWindows")}</p> : null}
      <dl className="grid grid-cols-[auto_1fr] gap-x-4">
        {WEEKDAYS.map((weekday) => {
          const windows = script.windows
            .filter((window) => window.weekday === weekday)
            .toSorted((one, other) => one.start_minute - other.start_minute);
          return windows.length === 0 ? null : (
            <div key={weekday} className="col-span-2 grid grid-cols-subgrid border-t border-line py-1" data-weekday={weekday}>
              <dt className="capitalize">{weekdayName(weekday)}</dt>
              <dd>
                <ul className="flex flex-wrap gap-x-4">
                  {windows.map((window) => (
                    <li key={window.start_minute}>
                      {text("script.window", {
                        start: minuteName(window.start_minute),
                        end: minuteName(window.end_minute),
                        count: window.round_count,
                      })}
                    </li>
                  ))}
                </ul>
              </dd>
            </div>
          );
        })}
      </dl>
    </section>
  );
}
