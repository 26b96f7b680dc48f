"""How the account is set up: its people, inboxes, teams and webhooks, and what an administrator may refuse."""

from urllib.parse import urlsplit

from sandbox.chatwoot.draws import Draws
from sandbox.chatwoot.records import (
    API,
    CHANNELS,
    DEFAULT_SUBSCRIPTIONS,
    EVENTS,
    FACEBOOK_PAGE,
    INSTAGRAM,
    WHATSAPP,
    Account,
    Agent,
    Bot,
    Event,
    Inbox,
    Role,
    Target,
    Team,
    Webhook,
)

_FIRST_ID = {"user": 1, "team": 1, "inbox": 1, "webhook": 1}
_INBOX_NICKNAMES = {"whatsapp": WHATSAPP, "instagram": INSTAGRAM, "messenger": FACEBOOK_PAGE, "evolution": API}


class RefusedError(Exception):
    """A request that Chatwoot's own validation turns down; `attribute` names the field, if there is one."""

    def __init__(self, message: str, attribute: str | None = None) -> None:
        super().__init__(message)
        self.message, self.attribute = message, attribute


class AccountSetup:
    """The configuration of one account."""

    def __init__(self, account: Account, draws: Draws) -> None:
        self.account = account
        self.agents: dict[int, Agent] = {}
        self.bots: dict[int, Bot] = {}
        self.teams: dict[int, Team] = {}
        self.inboxes: dict[int, Inbox] = {}
        self.webhooks: dict[int, Webhook] = {}
        self._draws = draws
        self._next_id = dict(_FIRST_ID)

    def add_agent(
        self, name: str, email: str, role: Role = "agent", *, access_token: str | None = None, avatar_url: str = ""
    ) -> Agent:
        """A user of the account; without a token given, one is drawn."""
        agent = Agent(
            id=self._take_id("user"),
            name=name,
            available_name=name.split()[0],
            email=email,
            role=role,
            access_token=access_token or self._draws.token(),
            avatar_url=avatar_url,
        )
        self.agents[agent.id] = agent
        return agent

    def add_bot(self, name: str) -> Bot:
        """An agent bot with a token of its own."""
        bot = Bot(id=self._take_id("user"), name=name, access_token=self._draws.token())
        self.bots[bot.id] = bot
        return bot

    def add_team(self, name: str) -> Team:
        """A team that conversations can be handed to."""
        team = Team(id=self._take_id("team"), name=name)
        self.teams[team.id] = team
        return team

    def add_inbox(
        self,
        channel: str,
        name: str,
        *,
        inbox_id: int | None = None,
        webhook_url: str | None = None,
        lock_to_single_conversation: bool = False,
    ) -> Inbox:
        """An inbox of one of the four channels; Evolution's (Channel::Api) opens its conversations as pending."""
        if channel not in CHANNELS:
            raise RefusedError("Channel type is invalid", "channel")
        number = self._take_id("inbox") if inbox_id is None else inbox_id
        if number in self.inboxes:
            raise RefusedError("Id has already been taken", "id")
        inbox = Inbox(
            id=number,
            name=name,
            channel=channel,
            identifier=self._draws.token(),
            secret=self._draws.token(),
            phone_number=f"+55113000{number % 10_000:04d}" if channel == WHATSAPP else None,
            instagram_id=f"1784140{number:010d}" if channel in (INSTAGRAM, FACEBOOK_PAGE) else None,
            page_id=f"1050{number:011d}" if channel == FACEBOOK_PAGE else None,
            webhook_url=webhook_url,
            lock_to_single_conversation=lock_to_single_conversation,
            starts_pending=channel == API,
        )
        self.inboxes[number] = inbox
        return inbox

    def inbox(self, wanted: int | str) -> Inbox | None:
        """An inbox by its id, or the first of a channel by nickname: whatsapp, instagram, messenger, evolution."""
        if isinstance(wanted, int) or wanted.isdecimal():
            return self.inboxes.get(int(wanted))
        channel = _INBOX_NICKNAMES.get(wanted, wanted)
        return next((inbox for inbox in self.inboxes.values() if inbox.channel == channel), None)

    def add_webhook(
        self,
        url: str,
        *,
        subscriptions: tuple[str, ...] = DEFAULT_SUBSCRIPTIONS,
        secret: str | None = None,
        name: str | None = None,
        inbox_id: int | None = None,
    ) -> Webhook:
        """An account webhook. Over REST the secret is always drawn; only a test or the demo chooses it."""
        self._check_webhook(url, subscriptions, apart_from=None)
        row = Webhook(
            id=self._take_id("webhook"),
            url=url,
            secret=secret or self._draws.token(),
            subscriptions=subscriptions,
            name=name,
            inbox_id=inbox_id,
        )
        self.webhooks[row.id] = row
        return row

    def change_webhook(
        self, row: Webhook, *, url: str | None, subscriptions: tuple[str, ...] | None, name: str | None
    ) -> None:
        """Changes what is given and keeps the secret: Chatwoot cannot reset it."""
        self._check_webhook(url or row.url, subscriptions or row.subscriptions, apart_from=row.id)
        row.url = url or row.url
        row.subscriptions = subscriptions or row.subscriptions
        row.name = name or row.name

    def principal(self, token: str) -> Agent | Bot | None:
        """Whose access token this is."""
        actors: list[Agent | Bot] = [*self.agents.values(), *self.bots.values()]
        return next((actor for actor in actors if actor.access_token == token), None)

    def targets(self, event: Event) -> list[Target]:
        """Everyone who is owed the event: subscribed account webhooks, and the inbox's own for an API inbox.

        An account webhook's `inbox_id` is stored and never looked at, as upstream.
        """
        found = [Target(row.url, row.secret) for row in self.webhooks.values() if event.name in row.subscriptions]
        inbox = None if event.inbox_id is None else self.inboxes.get(event.inbox_id)
        if inbox is not None and inbox.channel == API and inbox.webhook_url:
            found.append(Target(inbox.webhook_url, inbox.secret, inbox.id))
        return found

    def _check_webhook(self, url: str, subscriptions: tuple[str, ...], *, apart_from: int | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RefusedError("Url is invalid", "url")
        if any(row.url == url and row.id != apart_from for row in self.webhooks.values()):
            raise RefusedError("Url has already been taken", "url")
        if not subscriptions or not set(subscriptions) <= set(EVENTS):
            raise RefusedError("Subscriptions Invalid events", "subscriptions")

    def _take_id(self, kind: str) -> int:
        number = self._next_id[kind]
        while kind == "inbox" and number in self.inboxes:
            number += 1
        self._next_id[kind] = number + 1
        return number
