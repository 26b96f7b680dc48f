"""Whether a connection is as it should be: what Chatwoot showed, held against what is kept. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from chassis.canonical import Source
from services.ingest.connections.check import CheckItem, Declared, Kept, events_arriving, secret_set

NEEDED_EVENTS = (
    "conversation_created",
    "conversation_updated",
    "conversation_status_changed",
    "message_created",
    "message_updated",
    "contact_created",
    "contact_updated",
)
"""What a webhook must be subscribed to; the parser reads no others."""
LEGACY_PATH = "/api/chatwoot/webhook"
FITTING_CHANNELS = {
    Source.WHATSAPP: ("Channel::Whatsapp", "Channel::TwilioSms", "Channel::Api"),
    Source.INSTAGRAM: ("Channel::Instagram", "Channel::FacebookPage", "Channel::Api"),
}
NAMED_INBOXES_MAX = 10
"""How many inboxes, accounts or channels a sentence names before it stops."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call to Chatwoot brought nothing, as a sentence."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Who the access token is, and its role in each account."""

    name: str
    roles: dict[int, str]


@dataclass(frozen=True, slots=True)
class Inbox:
    """An inbox as Chatwoot lists it."""

    id: int
    name: str
    channel_type: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """An account webhook as Chatwoot lists it; its secret is empty on releases that do not sign."""

    url: str
    subscriptions: frozenset[str]
    secret: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What Chatwoot answered."""

    version: str | Failure
    profile: Profile | Failure
    inboxes: tuple[Inbox, ...] | Failure
    webhooks: tuple[Webhook, ...] | Failure


def evaluate(kept: Kept, seen: Seen) -> list[CheckItem]:
    """The items, in the order in which to mend them."""
    items = [
        _api_reachable(seen.version),
        _token_valid(kept.account_id, seen.profile),
        _inboxes_known(kept.channels, seen.inboxes),
        _webhook_registered(kept, seen.webhooks),
    ]
    return [*_said_once(items), _secret_set(kept, seen.webhooks), events_arriving(kept)]


def _said_once(items: Sequence[CheckItem]) -> list[CheckItem]:
    """Where several calls failed alike, the first item says why and the others name it."""
    first: dict[str, str] = {}
    said = []
    for item in items:
        name = first.setdefault(item.detail, item.name)
        detail = item.detail if name == item.name else f"Could not be asked either: see {name}."
        said.append(replace(item, detail=detail))
    return said


def _api_reachable(version: str | Failure) -> CheckItem:
    name = "api_reachable"
    if isinstance(version, Failure):
        return CheckItem(name, False, version.sentence)
    return CheckItem(name, True, f"Chatwoot {version} answers.")


def administers(profile: Profile | Failure, account_id: int | None) -> bool:
    """Whether the server said that the token is an administrator's of the account."""
    return not isinstance(profile, Failure) and account_id is not None and _is_administrator(profile, account_id)


def _is_administrator(profile: Profile, account_id: int) -> bool:
    return profile.roles.get(account_id) == "administrator"


def _token_valid(account_id: int | None, profile: Profile | Failure) -> CheckItem:
    name = "token_valid"
    if isinstance(profile, Failure):
        return CheckItem(name, False, profile.sentence)
    if account_id is None:
        shown = sorted(profile.roles)
        accounts = ", ".join(map(str, shown[:NAMED_INBOXES_MAX])) or "none"
        if len(shown) > NAMED_INBOXES_MAX:
            accounts += f" and {len(shown) - NAMED_INBOXES_MAX} more"
        return CheckItem(
            name,
            False,
            f"The token is {profile.name}'s, but the connection names no account_id. The user's accounts: {accounts}.",
        )
    role = profile.roles.get(account_id)
    if role is None:
        return CheckItem(
            name,
            False,
            f"The token is {profile.name}'s, who is no member of account {account_id}. Use the token of one of its "
            "administrators.",
        )
    if not _is_administrator(profile, account_id):
        return CheckItem(
            name,
            False,
            f"The token is {profile.name}'s, who is {role} in account {account_id}. Webhooks can be read by "
            "administrators only: use the token of one, or raise the role.",
        )
    return CheckItem(name, True, f"The token is {profile.name}'s, administrator of account {account_id}.")


def _inboxes_known(channels: tuple[Declared, ...], inboxes: tuple[Inbox, ...] | Failure) -> CheckItem:
    name = "inboxes_known"
    if isinstance(inboxes, Failure):
        return CheckItem(name, False, inboxes.sentence)
    if not channels:
        return CheckItem(
            name,
            False,
            "No channel is declared, so everything that arrives is a foreign inbox. Create a channel for each inbox "
            f"that is to be served. Chatwoot shows: {_listed(inboxes)}.",
        )
    by_id = {str(inbox.id): inbox for inbox in inboxes}
    problems = []
    for channel in channels:
        inbox = by_id.get(channel.provider_channel_id)
        if inbox is None:
            problems.append(
                f'Channel "{channel.name}" names inbox {channel.provider_channel_id}, which the account does not show; '
                f"it shows {_listed(inboxes)}."
            )
        elif inbox.channel_type not in FITTING_CHANNELS[channel.source]:
            problems.append(
                f'Channel "{channel.name}" is declared as {channel.source}, but inbox {inbox.id} "{inbox.name}" is '
                f"{inbox.channel_type}. Declare the inbox that is meant."
            )
    if problems:
        left = len(problems) - NAMED_INBOXES_MAX
        more = [f"So it is with {left} more."] if left > 0 else []
        return CheckItem(name, False, " ".join(problems[:NAMED_INBOXES_MAX] + more))
    shown = [by_id[channel.provider_channel_id] for channel in channels]
    return CheckItem(name, True, f"Found as declared: {_listed(shown)}.")


def _listed(inboxes: list[Inbox] | tuple[Inbox, ...]) -> str:
    named = [f'{inbox.id} "{inbox.name}" ({inbox.channel_type})' for inbox in inboxes[:NAMED_INBOXES_MAX]]
    if len(inboxes) > NAMED_INBOXES_MAX:
        named.append(f"and {len(inboxes) - NAMED_INBOXES_MAX} more")
    return ", ".join(named) or "no inbox"


def _webhook_registered(kept: Kept, webhooks: tuple[Webhook, ...] | Failure) -> CheckItem:
    name = "webhook_registered"
    if isinstance(webhooks, Failure):
        return CheckItem(name, False, webhooks.sentence)
    ours = _ours(kept, webhooks)
    if not ours:
        return CheckItem(
            name,
            False,
            f"None of the account's {len(webhooks)} webhooks leads to {kept.webhook_path}. Add one in Chatwoot under "
            f"Settings > Integrations > Webhooks: this installation's public address followed by that path, with the "
            f"events {', '.join(NEEDED_EVENTS)}.",
        )
    missing = [event for event in NEEDED_EVENTS if not any(event in webhook.subscriptions for webhook in ours)]
    if missing:
        return CheckItem(
            name,
            False,
            f"The webhook {ours[0].url} is not subscribed to {', '.join(missing)}. Edit it in Chatwoot under Settings "
            "> Integrations > Webhooks and tick these events.",
        )
    if len(ours) > 1:
        return CheckItem(
            name, True, f"{len(ours)} webhooks lead here, so each event arrives {len(ours)} times; one is enough."
        )
    return CheckItem(name, True, f"{ours[0].url} is subscribed to all that is needed.")


def _ours(kept: Kept, webhooks: tuple[Webhook, ...]) -> list[Webhook]:
    # A proxy may put a path of its own in front of ours.
    paths = (kept.webhook_path, LEGACY_PATH)
    return [webhook for webhook in webhooks if _path(webhook.url).endswith(paths)]


def _path(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""


def _secret_set(kept: Kept, webhooks: tuple[Webhook, ...] | Failure) -> CheckItem:
    signing = [] if isinstance(webhooks, Failure) else [hook for hook in _ours(kept, webhooks) if hook.secret]
    if any(hook.secret not in kept.secrets for hook in signing):
        another = (
            ", but Chatwoot signs with another one, so its webhooks are refused. Add the secret that Chatwoot shows "
            "for the webhook"
        )
        return secret_set(kept, seen=another, passed=False)
    by = "it" if len(kept.secrets) == 1 else "one of them"
    return secret_set(kept, seen=f", and Chatwoot signs with {by}" if signing else "")
