import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link, Outlet, redirect } from "@tanstack/react-router";
import { knownSession } from "../api/client.ts";
import { onSessionChange } from "../api/session.ts";
import type { ConversationFilter } from "../pages/conversations/queries.ts";
import { TASK_STATES, type TaskState } from "../pages/tasks/queries.ts";
import { SignInPage } from "../pages/sign-in/page.tsx";
import { text } from "../texts/index.ts";
import { Empty, Failed, Loading } from "../ui/states.tsx";
import { CONVERSATION_STATES } from "../pages/conversations/states.ts";
import { Shell } from "./shell.tsx";

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

function word(value: unknown): string | undefined {
  return typeof value === "string" && value ? value : undefined;
}

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search): { back?: string } => ({ back: word(search.back) }),
  // Whoever is signed in already has nothing to do here.
  beforeLoad: () => knownSession(),
  component: () => <SignInPage back={signIn.useSearch().back} />,
});

/** Who is not signed in is led to the sign-in, and back to where he wanted to be. */
const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  beforeLoad: async ({ location }) => {
    if (await knownSession()) return;
    const back = location.pathname === "/" ? undefined : location.href;
    // oxlint-disable-next-line typescript/only-throw-error -- how the router is told to go elsewhere
    throw redirect({ to: "/sign-in", search: { back }, replace: true });
  },
  component: Shell,
});

const home = createRoute({
  getParentRoute: () => shell,
  path: "/",
  beforeLoad: () => {
    // oxlint-disable-next-line typescript/only-throw-error -- how the router is told to go elsewhere
    throw redirect({ to: "/conversations", replace: true });
  },
});

/** The filter that an address says; what is no filter of ours is left out. */
export function conversationFilter(search: Record<string, unknown>): ConversationFilter {
  return {
    state: CONVERSATION_STATES.find((state) => state === search.state),
    contact_id: word(search.contact_id),
  };
}

const conversations = createRoute({
  getParentRoute: () => shell,
  path: "/conversations",
  validateSearch: conversationFilter,
  component: lazyRouteComponent(() => import("../pages/conversations/page.tsx"), "ConversationsPage"),
});

const conversation = createRoute({
  getParentRoute: () => conversations,
  path: "$conversationId",
  component: lazyRouteComponent(() => import("../pages/conversations/thread.tsx"), "ThreadRegion"),
});

const contacts = createRoute({
  getParentRoute: () => shell,
  path: "/contacts",
  validateSearch: (search): { name?: string; phone?: string } => ({ name: word(search.name), phone: word(search.phone) }),
  component: lazyRouteComponent(() => import("../pages/contacts/page.tsx"), "ContactsPage"),
});

const contact = createRoute({
  getParentRoute: () => contacts,
  path: "$contactId",
  component: lazyRouteComponent(() => import("../pages/contacts/contact.tsx"), "ContactRegion"),
});

const tasks = createRoute({
  getParentRoute: () => shell,
  path: "/tasks",
  validateSearch: (search): { task_state?: TaskState } => ({
    task_state: TASK_STATES.find((state) => state === search.task_state),
  }),
  component: lazyRouteComponent(() => import("../pages/tasks/page.tsx"), "TasksPage"),
});

const campaigns = createRoute({
  getParentRoute: () => shell,
  path: "/campaigns",
  component: lazyRouteComponent(() => import("../pages/campaigns/page.tsx"), "CampaignsPage"),
});

const campaign = createRoute({
  getParentRoute: () => campaigns,
  path: "$campaignId",
  component: lazyRouteComponent(() => import("../pages/campaigns/campaign.tsx"), "CampaignRegion"),
});

const scripts = createRoute({
  getParentRoute: () => shell,
  path: "/scripts",
  component: lazyRouteComponent(() => import("../pages/scripts/page.tsx"), "ScriptsPage"),
});

const script = createRoute({
  getParentRoute: () => scripts,
  path: "$scriptId",
  component: lazyRouteComponent(() => import("../pages/scripts/script.tsx"), "ScriptRegion"),
});

const metrics = createRoute({
  getParentRoute: () => shell,
  path: "/figures",
  component: lazyRouteComponent(() => import("../pages/metrics/page.tsx"), "MetricsPage"),
});

const numbers = createRoute({
  getParentRoute: () => shell,
  path: "/numbers",
  component: lazyRouteComponent(() => import("../pages/numbers/page.tsx"), "NumbersPage"),
});

const team = createRoute({
  getParentRoute: () => shell,
  path: "/team",
  component: lazyRouteComponent(() => import("../pages/team/page.tsx"), "TeamPage"),
});

const invitation = createRoute({
  getParentRoute: () => root,
  path: "/invitation",
  component: lazyRouteComponent(() => import("../pages/invitation/page.tsx"), "InvitationPage"),
});

const secondFactor = createRoute({
  getParentRoute: () => shell,
  path: "/second-factor",
  validateSearch: (search): { back?: string } => ({ back: word(search.back) }),
  component: lazyRouteComponent(() => import("../pages/second-factor/page.tsx"), "SecondFactorPage"),
});

const board = createRoute({
  getParentRoute: () => shell,
  path: "/board",
  validateSearch: (search): { board?: string } => ({ board: word(search.board) }),
  component: lazyRouteComponent(() => import("../pages/board/page.tsx"), "BoardPage"),
});

function NotFound() {
  return <Empty sentence={text("notFound.sentence")} action={<Link to="/">{text("notFound.action")}</Link>} />;
}

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    invitation,
    shell.addChildren([
      home,
      conversations.addChildren([conversation]),
      contacts.addChildren([contact]),
      board,
      tasks,
      campaigns.addChildren([campaign]),
      scripts.addChildren([script]),
      metrics,
      numbers,
      team,
      secondFactor,
    ]),
  ]),
  defaultPreload: "intent",
  defaultPendingComponent: Loading,
  defaultErrorComponent: ({ error, reset }) => <Failed error={error} onRetry={reset} />,
});

// A session that ends, or begins, is looked at by the guard above at once.
onSessionChange(() => void router.invalidate());

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
