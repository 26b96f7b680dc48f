import { Bar, BarChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import type { MessagesPerDay } from "../../api/types.ts";
import { i18n, text } from "../../texts/index.ts";

type Day = MessagesPerDay["days"][number];

const HEIGHT_PX = 260;

function dayLabel(date: string): string {
  // A date without a time is a day of the organization's, in whatever zone the reader sits.
  return i18n.date(new Date(`${date}T12:00:00`), { weekday: "short", day: "2-digit" });
}

/** Bars by day, and below them the same as a table for whoever reads no picture. */
export function DayBars({ days }: { days: Day[] }) {
  return (
    <>
      <div aria-hidden="true">
        <ResponsiveContainer width="100%" height={HEIGHT_PX}>
          <BarChart data={days} accessibilityLayer={false}>
            <CartesianGrid vertical={false} stroke="var(--line)" />
            <XAxis dataKey="date" tickFormatter={dayLabel} stroke="var(--soft)" tickLine={false} />
            <YAxis allowDecimals={false} stroke="var(--soft)" tickLine={false} axisLine={false} width={44} />
            <Tooltip
              labelFormatter={(label) => (typeof label === "string" ? dayLabel(label) : "")}
              cursor={{ fill: "var(--quiet)" }}
              contentStyle={{ background: "var(--card)", border: "1px solid var(--edge)", borderRadius: 8 }}
            />
            <Bar
              dataKey="inbound_count"
              name={text("metrics.inbound")}
              fill="var(--good)"
              radius={[4, 4, 0, 0]}
              isAnimationActive={false}
            />
            <Bar
              dataKey="outbound_count"
              name={text("metrics.outbound")}
              fill="var(--accent)"
              radius={[4, 4, 0, 0]}
              isAnimationActive={false}
            />
          </BarChart>
        </ResponsiveContainer>
      </div>
      <div className="mt-3 overflow-x-auto">
        <table className="w-full text-sm">
          <caption className="sr-only">{text("metrics.days")}</caption>
          <thead className="text-soft">
            <tr>
              <th scope="col" className="py-1 text-left font-normal">
                {text("metrics.day")}
              </th>
              {(["inbound", "outbound", "failed"] as const).map((kind) => (
                <th key={kind} scope="col" className="py-1 pl-3 text-right font-normal">
                  {text(`metrics.${kind}`)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {days.map((day) => (
              <tr key={day.date} className="border-t border-line" data-day={day.date}>
                <th scope="row" className="py-1 text-left font-normal">
                  {dayLabel(day.date)}
                </th>
                <td className="text-right">{i18n.number(day.inbound_count)}</td>
                <td className="text-right">{i18n.number(day.outbound_count)}</td>
                <td className="text-right">{i18n.number(day.failed_count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
