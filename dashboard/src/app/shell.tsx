import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { CalendarClock, ChartColumn, Contact, KanbanSquare, LogOut, Megaphone, MessagesSquare, Smartphone, UserRoundSearch, Users } from "lucide-react";
import { lazy, Suspense, useEffect, useRef } from "react";
import { useLiveState } from "../api/live.ts";
import { useSession } from "../api/session.ts";
import { text } from "../texts/index.ts";
import { Button } from "../ui/button.tsx";
import { Notices } from "../ui/notices.tsx";
import { Wordmark } from "../ui/wordmark.tsx";
import { useLive } from "./live.ts";
import { OrganizationSwitch } from "./organization-switch.tsx";
import { Preferences } from "./preferences.tsx";
import { signOut } from "./sign-out.ts";

/** Windows that are seldom needed come when the page is there. */
const KillSwitchButton = lazy(() =>
  import("./kill-switch.tsx").then((module) => ({ default: module.KillSwitchButton })),
);
const StepUp = lazy(() => import("./step-up.tsx").then((module) => ({ default: module.StepUp })));

const PLACES = [
  { to: "/conversations", label: "nav.conversations", Icon: MessagesSquare },
  { to: "/board", label: "nav.board", Icon: KanbanSquare },
  { to: "/contacts", label: "nav.contacts", Icon: Contact },
  { to: "/tasks", label: "nav.tasks", Icon: UserRoundSearch },
  { to: "/campaigns", label: "nav.campaigns", Icon: Megaphone },
  { to: "/scripts", label: "nav.scripts", Icon: CalendarClock },
  { to: "/figures", label: "nav.metrics", Icon: ChartColumn },
  { to: "/numbers", label: "nav.numbers", Icon: Smartphone },
  { to: "/team", label: "nav.team", Icon: Users },
] as const;

/** What surrounds every page of somebody who is signed in. */
export function Shell() {
  const session = useSession();
  // Whoever has just signed out is led away by the router.
  return session ? <Inside key={session.organization_id} /> : null;
}

function Inside() {
  useLive();
  const session = useSession();
  const places = usePlaceInSight();
  return (
    <div className="flex h-full flex-col-reverse md:flex-row">
      <a
        href="#content"
        className="sr-only focus:not-sr-only focus:absolute focus:z-10 focus:bg-card focus:p-3 focus:text-ink"
      >
        {text("nav.skip")}
      </a>
      <nav
        aria-label={text("nav.label")}
        className="flex shrink-0 overflow-x-auto border-t border-line bg-card md:w-52 md:flex-col md:border-t-0 md:border-r"
      >
        <p className="hidden px-4 pt-5 pb-4 text-2xl md:block" aria-hidden="true">
          <Wordmark />
        </p>
        <ul ref={places} className="flex flex-1 justify-between md:flex-none md:flex-col md:gap-1 md:px-2">
          {PLACES.map(({ to, label, Icon }) => (
            <li key={to} className="min-w-fit flex-1 md:min-w-0 md:flex-none">
              <Link
                to={to}
                className="flex min-h-12 flex-col items-center justify-center gap-1 px-2 py-1.5 text-xs text-soft hover:bg-quiet md:min-h-10 md:flex-row md:justify-start md:gap-3 md:rounded-lg md:px-3 md:text-[15px]"
                activeProps={{ className: "!text-accent font-semibold", "aria-current": "page" }}
              >
                <Icon aria-hidden="true" className="size-5" />
                {text(label)}
              </Link>
            </li>
          ))}
        </ul>
        <div className="flex shrink-0 items-center gap-3 p-3 md:mt-auto md:flex-col md:items-stretch md:p-4">
          <Preferences />
        </div>
      </nav>
      <div className="flex min-h-0 min-w-0 flex-1 flex-col">
        <header className="flex items-center gap-3 border-b border-line bg-card px-4 py-2">
          {session ? <OrganizationSwitch session={session} /> : null}
          <LiveMark />
          <div className="ml-auto">
            <Suspense>
              <KillSwitchButton />
            </Suspense>
          </div>
          <Button look="bare" onClick={() => void signOut()}>
            <LogOut aria-hidden="true" className="size-4" />
            <span className="sr-only md:not-sr-only">{text("action.signOut")}</span>
          </Button>
        </header>
        <main id="content" tabIndex={-1} className="min-h-0 flex-1 outline-none">
          <Outlet />
        </main>
        <Notices />
        <Suspense>
          <StepUp />
        </Suspense>
      </div>
    </div>
  );
}

/** On a telephone not all places fit beside each other: the one that is shown comes into sight. */
function usePlaceInSight() {
  const places = useRef<HTMLUListElement>(null);
  const path = useLocation({ select: ({ pathname }) => pathname });
  useEffect(() => {
    const [, place] = path.split("/");
    places.current?.querySelector(`a[href="/${place}"]`)?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [path]);
  return places;
}

/** Says whether what is shown follows along. */
function LiveMark() {
  const state = useLiveState();
  return (
    <output className="flex items-center gap-1.5 text-sm text-soft" data-live={state}>
      <span
        aria-hidden="true"
        className={`size-2 rounded-full ${state === "live" ? "bg-good" : state === "away" ? "bg-bad" : "bg-warn"}`}
      />
      {text(`live.${state}`)}
    </output>
  );
}
