"""Requests for any RPC, with one organization's ids in every field that names something.

Which field names what follows from names: a field ``deal_id`` of an RPC of crm takes a deal's id from the rows of crm.
What else is required follows from the rules in the contracts. Where neither suffices, a message type has a builder.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from prosa.conversation.v1 import instance_service_pb2, script_service_pb2
from prosa.identity.v1 import access_service_pb2, contact_service_pb2, member_service_pb2, session_service_pb2
from prosa.ingest.v1 import connection_service_pb2, ingest_service_pb2, outbound_service_pb2
from prosa.outreach.v1 import campaign_service_pb2, list_service_pb2, send_service_pb2
from prosa.v1 import options_pb2
from sandbox.chatwoot.signing import signed_request
from services.outreach.sending.terms import TERMS_VERSION
from tests.harness import INSTAGRAM_INBOX
from tests.isolation.contracts import Rpc
from tests.isolation.filling import AWAITED_FILE, PASSWORD, Party

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""One organization's rows by table, ``service.table``."""

Described: TypeAlias = Any
"""A protobuf descriptor: its type checker's stub knows two of each kind."""

ALIASES = {"board": "board_id", "stage": "stage_id"}
"""Fields that name a thing by another word than the thing's id."""
TABLES_OF_RESOURCES = {"FeedEvent": "feed", "Touch": "touches", "CheckConnection": "connections"}
"""Resources whose table is not called as they are."""
TABLES_OF_WHAT_IS_GONE = {"contact_redirects"}
"""Tables of any service that name what stands for nothing any more; they are asked last."""
NATURAL_KEYS = {
    "external_id",
    "source",
    "provider_conversation_id",
    "conversation_key",
    "phone",
    "email",
    "board_key",
    "inbox_id",
}
"""Fields that name something by what the outside world calls it."""
SETTLED = {"account_id"}
"""Fields that no update changes once work was done under them."""
CHOSEN = {"prosa.identity.v1.ConflictDecision": contact_service_pb2.CONFLICT_DECISION_REJECT}
"""Of an enum the value that asks for nothing else."""
TASK_STATES_LEFT = {
    "AcceptReconciliationTask": ("ACCEPTED", "OPEN"),
    "RejectReconciliationTask": ("REJECTED", "OPEN"),
}
"""In which states a task may be for an RPC that decides it."""
PAGING = {"page_size", "page_token", "order", "after_position", "request_id"}

GUESSES = 5
TIMESTAMP = "google.protobuf.Timestamp"

_numbers = itertools.count(1)


class NoBuilder(AssertionError):
    """A request that the rules here cannot make: its message type needs a builder."""


class RequestMaker:
    """Makes requests that name what is A's, as B or as A itself would send them."""

    def __init__(self, rows: Mapping[str, Rows], parties: Mapping[str, Party]) -> None:
        """``rows`` and ``parties`` by "a" and "b"."""
        self._rows = rows
        self._parties = parties
        self._ids_of_a = sorted(
            {
                str(value)
                for found in rows["a"].values()
                for row in found
                for value in row.values()
                if type(value) is UUID
            }
        )

    def requests(self, rpc: Rpc, caller: str) -> dict[str, Message]:
        """All requests to try, by what is special about each. ``caller`` sends them; what they name is A's."""
        made = {"everything": self._request(rpc, caller, {})}
        if rpc.lists:
            made |= self._filters(rpc)
        elif caller == "b":
            pointing = [field.name for field in self._pointing(rpc)]
            # One thing of A's among things of B's own.
            made |= {f"only {name}": self._request(rpc, caller, {name: "a"}) for name in pointing if len(pointing) > 1}
        if caller == "b":
            made |= self._guesses(rpc)
        for request in made.values():
            _check(rpc, request)
        return made

    def _guesses(self, rpc: Rpc) -> dict[str, Message]:
        """Any ids of A's in any fields that take one, drawn from a seed that is the RPC's name."""
        draws, made = random.Random(rpc.name), {}
        fields = [field for field in _fields(rpc.request_type.DESCRIPTOR) if self._takes_an_id(rpc, field)]
        for number in range(GUESSES if fields else 0):
            request = self._request(rpc, "b", {})
            for field in draws.sample(fields, draws.randint(1, len(fields))):
                request.ClearField(field.name)
                _put(request, field, draws.choice(self._ids_of_a))
            made[f"guess {number}"] = request
        return made

    def _takes_an_id(self, rpc: Rpc, field: Described) -> bool:
        given = rpc.request_type.DESCRIPTOR.full_name in BUILDERS or not self._points(rpc, field)
        return not given and field.type == FieldDescriptor.TYPE_STRING and field.name not in NATURAL_KEYS

    def _filters(self, rpc: Rpc) -> dict[str, Message]:
        """The whole list, and the list by each filter alone."""
        whole = rpc.request_type()
        for name in rpc.path_fields:
            field: Described = rpc.request_type.DESCRIPTOR.fields_by_name[name]
            _put(whole, field, self._value(rpc, field, "a"))
        made = {"everything": whole}
        for field in _fields(rpc.request_type.DESCRIPTOR):
            if field.name in PAGING | rpc.path_fields or field.type == FieldDescriptor.TYPE_BOOL:
                continue
            value = self._value(rpc, field, "a")
            if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.full_name == TIMESTAMP:
                value = datetime.now(UTC)
            if value is None:
                raise NoBuilder(f"{rpc.name}: no row of A tells what to put into the filter {field.name}")
            made[f"by {field.name}"] = request = rpc.request_type()
            request.CopyFrom(whole)
            _put(request, field, value)
        return made

    def _request(self, rpc: Rpc, caller: str, owners: Mapping[str, str]) -> Message:
        descriptor = rpc.request_type.DESCRIPTOR
        if (builder := BUILDERS.get(descriptor.full_name)) is not None:
            return builder(self._parties["a"], self._parties[caller])
        request = rpc.request_type()
        self._fill(rpc, request, lambda name: owners.get(name, "b" if owners else "a"))
        return request

    def _pointing(self, rpc: Rpc) -> Iterator[Described]:
        for field in _fields(rpc.request_type.DESCRIPTOR):
            if self._points(rpc, field):
                yield field

    def _points(self, rpc: Rpc, field: Described) -> bool:
        if field.name in PAGING:
            return False
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            return field.message_type.full_name in PARTS
        if rpc.method.startswith("Create") and field.name in NATURAL_KEYS:
            return False
        if rpc.method.startswith("Update") and field.name in SETTLED:
            return False
        return field.name in ALIASES or field.name in NATURAL_KEYS or field.name.endswith(("_id", "_ids"))

    def _fill(self, rpc: Rpc, message: Message, owner_of: Callable[[str], str]) -> None:
        for field in _fields(message.DESCRIPTOR):
            if self._points(rpc, field):
                owner = owner_of(field.name)
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    part = PARTS[field.message_type.full_name](self._parties[owner])
                    getattr(message, field.name).CopyFrom(part)
                elif (value := self._value(rpc, field, owner)) is not None:
                    _put(message, field, value)
            elif field.name == "request_id":
                message.request_id = str(uuid4())  # type: ignore[attr-defined]
            elif field.type == FieldDescriptor.TYPE_MESSAGE and _is_list(field):
                if _rules(field).repeated.min_items and field.message_type.fields:
                    self._fill(rpc, getattr(message, field.name).add(), owner_of)
            else:
                _put_required(message, field)

    def _value(self, rpc: Rpc, field: Described, owner: str) -> Any:
        """What one of the owner's rows has for a field; None where no row tells."""
        wanted = ALIASES.get(field.name, field.name)
        rows = self._rows[owner]
        if rpc.method in TASK_STATES_LEFT and wanted in ("reconciliation_task_id", "surviving_contact_id"):
            # What was decided so already is answered as it is.
            tasks = sorted(
                (row for row in rows["crm.reconciliation_tasks"] if row["state"] in TASK_STATES_LEFT[rpc.method]),
                key=lambda row: (row["state"] == "OPEN", row["id"]),
            )
            task = tasks[0]
            survivor = task["surviving_contact_id"] or task["contact_id"]
            return str(task["id"] if wanted == "reconciliation_task_id" else survivor)
        if rpc.method == "DecideIdentityConflict" and wanted == "identity_conflict_id":
            # One that was decided so already is answered as it is.
            conflicts = sorted(
                (row for row in rows["identity.identity_conflicts"] if row["decision"] in ("", "REJECT")),
                key=lambda row: row["state"] == "OPEN",
            )
            return str(conflicts[0]["identity_conflict_id"])
        if wanted == "losing_contact_id":
            # Whoever was merged already is one with the other, perhaps.
            standing = [row["contact_id"] for row in rows["identity.contacts"] if row["merged_into"] is None]
            return str(max(standing))
        if wanted == "contact_merge_id":
            # The last one lies under no other.
            holding = [row["contact_merge_id"] for row in rows["identity.contact_merges"] if row["undo_time"] is None]
            return str(max(holding))
        for table in self._tables(rpc, rows):
            singular = _singular(table.partition(".")[2])
            names = [wanted, f"surviving_{wanted}", f"{wanted}s", wanted.removesuffix("s")]
            if wanted in (f"{singular}_id", f"{singular}_key"):
                names.append(wanted.removeprefix(f"{singular}_"))
            for row in _richest_first(rows[table]):
                for name in names:
                    if (value := _fitting(field, row.get(name))) is not None:
                        return value
        return None

    def _tables(self, rpc: Rpc, rows: Rows) -> list[str]:
        """Tables in the order in which they are asked: what the RPC answers, its service's, all."""
        resource = _resource(rpc.answer_type.DESCRIPTOR)
        own = f"{rpc.service}.{TABLES_OF_RESOURCES.get(resource) or _plural(_snake(resource))}"

        def rank(table: str) -> tuple[bool, bool, bool, str]:
            gone = table.partition(".")[2] in TABLES_OF_WHAT_IS_GONE
            return table != own, gone, not table.startswith(f"{rpc.service}."), table

        return sorted(rows, key=rank)


def _check(rpc: Rpc, request: Message) -> None:
    violations = protovalidate.collect_violations(request)
    if violations:
        told = "; ".join(f"{violation.proto.field}: {violation.proto.message}" for violation in violations)
        raise NoBuilder(f"{rpc.name} cannot be called by the rules of tests/isolation/requests.py: {told}")


def _fields(descriptor: Described) -> Sequence[Described]:
    return tuple(descriptor.fields)


def _is_list(field: Described) -> bool:
    return bool(field.is_repeated)


def _rules(field: Described) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _fitting(field: Described, value: Any) -> Any:
    """The value in the field's own terms, or None where it is none of them."""
    if isinstance(value, list) and not _is_list(field):
        value = value[0] if value else None
    if value in (None, "", [], 0):
        return None
    if field.type == FieldDescriptor.TYPE_ENUM:
        endings = {entry.name: entry.number for entry in field.enum_type.values}
        matching = [number for name, number in endings.items() if name.endswith(f"_{str(value).upper()}")]
        return matching[0] if matching else None
    if field.type == FieldDescriptor.TYPE_STRING:
        return str(value) if isinstance(value, (str, UUID)) else None
    if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32):
        return value if isinstance(value, int) else None
    return None


def _put(message: Message, field: Described, value: Any) -> None:
    if isinstance(value, datetime):
        # The start or the end of a list that leaves every row in it.
        reach = timedelta(days=1) if field.name.startswith("end") else -timedelta(days=1)
        getattr(message, field.name).FromDatetime(value + reach)
    elif _is_list(field):
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _put_required(message: Message, field: Described) -> None:
    """What the contract's rules ask for, and nobody has had before."""
    rules, number = _rules(field), next(_numbers)
    if field.name == "source" and field.enum_type.full_name == options_pb2.Source.DESCRIPTOR.full_name:
        message.source = options_pb2.SOURCE_INSTAGRAM  # type: ignore[attr-defined]
    elif field.name in ("external_id", "provider_conversation_id") and not _is_list(field):
        setattr(message, field.name, f"17849{number:012d}")
    elif field.type == FieldDescriptor.TYPE_ENUM and field.enum_type.full_name in CHOSEN:
        setattr(message, field.name, CHOSEN[field.enum_type.full_name])
    elif field.type == FieldDescriptor.TYPE_ENUM and getattr(rules.enum, "in"):
        setattr(message, field.name, getattr(rules.enum, "in")[0])
    elif field.type == FieldDescriptor.TYPE_STRING and _is_list(field):
        if rules.repeated.min_items:
            getattr(message, field.name).append("*")
    elif field.type == FieldDescriptor.TYPE_STRING and rules.string.email:
        setattr(message, field.name, f"pessoa{number}@example.com")
    elif field.type == FieldDescriptor.TYPE_STRING and rules.string.min_len:
        setattr(message, field.name, f"texto novo {number}")
    elif field.type == FieldDescriptor.TYPE_ENUM and 0 in rules.enum.not_in and not _is_list(field):
        setattr(message, field.name, field.enum_type.values[1].number)
    elif field.type == FieldDescriptor.TYPE_INT64 and rules.int64.HasField("gt"):
        setattr(message, field.name, rules.int64.gt + 100_000 + number)
    elif field.type == FieldDescriptor.TYPE_MESSAGE and rules.required:
        getattr(message, field.name).FromDatetime(datetime.now(UTC) - timedelta(days=1))


def _richest_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows that say most come first, so that several fields are told by one row; Instagram's before the others'."""
    return sorted(
        rows,
        key=lambda row: (
            row.get("source") not in (None, "INSTAGRAM"),
            -sum(value not in (None, "", []) for value in row.values()),
        ),
    )


def _resource(answer: Described) -> str:
    """What an RPC answers: the message itself, or what its list holds."""
    if answer.name.endswith("Response"):
        for field in answer.fields:
            if _is_list(field) and field.message_type is not None and answer.name.startswith("List"):
                return str(field.message_type.name)
    return str(answer.name).removesuffix("Response")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _plural(name: str) -> str:
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def _session(target: Party, caller: Party) -> Message:
    """Somebody's own e-mail and password, for the target's organization."""
    return access_service_pb2.CreateSessionRequest(
        email=caller.admin_email, password=PASSWORD, organization_id=str(target.organization_id)
    )


def _sign_in(target: Party, caller: Party) -> Message:
    """The same from a browser."""
    return session_service_pb2.SignInRequest(
        email=caller.admin_email, password=PASSWORD, organization_id=str(target.organization_id)
    )


def _cookie(_target: Party, caller: Party) -> Message:
    return session_service_pb2.ExchangeSessionRequest(session_secret=caller.session_secret)


def _sign_out(_target: Party, _caller: Party) -> Message:
    """Without a cookie: whoever comes after has the session still."""
    return session_service_pb2.SignOutRequest()


def _setup_code(_target: Party, _caller: Party) -> Message:
    """A wrong one: who calls has no second factor, and shall have none by this."""
    return session_service_pb2.ConfirmMfaSetupRequest(mfa_code="000000")


def _step_up_code(_target: Party, _caller: Party) -> Message:
    return session_service_pb2.VerifySessionRequest(mfa_code="000000")


def _check_link(_target: Party, caller: Party) -> Message:
    """Of the caller's own: whoever holds a link is told what it is for."""
    return member_service_pb2.CheckInvitationRequest(secret=caller.link)


def _accept_link(_target: Party, caller: Party) -> Message:
    return member_service_pb2.AcceptInvitationRequest(secret=caller.spare_link, password=PASSWORD)


def _exchange(_target: Party, caller: Party) -> Message:
    return access_service_pb2.ExchangeApiKeyRequest(client_secret=caller.api_key)


def _revoke(target: Party, _caller: Party) -> Message:
    """The key that nobody calls with: what comes after has the other one still."""
    return access_service_pb2.RevokeApiKeyRequest(api_key_id=target.spare_api_key_id)


def _home(_target: Party, _caller: Party) -> Message:
    """For the caller's own organization, which is all that the request can be for; a later one finds it so already."""
    return access_service_pb2.UpdateOrganizationRequest(locale="en-GB", request_id=str(uuid4()))


def _backfill(_target: Party, _caller: Party) -> Message:
    """For the one source it takes; whose contacts they are follows from the caller."""
    return contact_service_pb2.BackfillContactIdentitiesRequest(source=options_pb2.SOURCE_WHATSAPP)


def _webhook(target: Party, caller: Party) -> Message:
    """A webhook for the target's address, signed with the caller's own secret."""
    body, now = b'{"event": "contact_updated"}', datetime.now(UTC)
    headers = signed_request(body, caller.webhook_secret, str(uuid4()), int(now.timestamp()))
    webhook = ingest_service_pb2.Webhook(
        provider=ingest_service_pb2.PROVIDER_CHATWOOT, connection_key=target.connection_key, headers=headers, body=body
    )
    webhook.receive_time.FromDatetime(now)
    return ingest_service_pb2.AcceptWebhooksRequest(webhooks=[webhook])


def _endpoint(_target: Party, _caller: Party) -> Message:
    """For an address where nobody listens, on this machine."""
    return outbound_service_pb2.CreateOutboundEndpointRequest(
        name="n8n", url="http://127.0.0.1:9/webhook", request_id=str(uuid4())
    )


def _number(target: Party, _caller: Party) -> Message:
    """A number that is new, behind an address where nobody listens, to be kept by the target."""
    ids = {name: str(uuid4()) for name in ("instance_id", "connection_id", "channel_id")}
    return instance_service_pb2.CreateInstanceRequest(
        **ids,
        name=f"Número {ids['instance_id']} de {target.name}",
        base_url="http://127.0.0.1:9",
        access_token="key",
        webhook_url="http://prosa.invalid/webhooks/evolution/key",
        webhook_secret="a-secret-of-its-own",
        provider_instance_name=f"prosa-{ids['instance_id'][-12:]}",
    )


def _begun_number(target: Party, _caller: Party) -> Message:
    return connection_service_pb2.CreateInstanceRequest(
        name=f"Número {uuid4()} de {target.name}",
        base_url="http://127.0.0.1:9",
        access_token="key",
        request_id=str(uuid4()),
    )


def _number_told_of(target: Party, _caller: Party) -> Message:
    report = instance_service_pb2.InstanceReport(
        organization_id=str(target.organization_id),
        connection_id=target.numbers[0],
        cause_id=str(uuid4()),
        connection_state="connecting",
    )
    report.receive_time.FromDatetime(datetime.now(UTC))
    return instance_service_pb2.BatchRecordInstanceReportsRequest(reports=[report])


def _keys(target: Party, _caller: Party) -> Message:
    """The target's key, which only the gateway may ask for."""
    key = ingest_service_pb2.ConnectionKey(provider=ingest_service_pb2.PROVIDER_CHATWOOT, key=target.connection_key)
    return ingest_service_pb2.ResolveConnectionKeysRequest(connection_keys=[key])


def _place(target: Party) -> Message:
    return ingest_service_pb2.EnsureConversation(
        account_id=target.account_id, inbox_id=INSTAGRAM_INBOX, conversation_id=424242
    )


def _send(target: Party) -> send_service_pb2.SendRequest:
    """A message of the target's, to somebody of its own."""
    return send_service_pb2.SendRequest(
        organization_id=str(target.organization_id),
        delivery_id=str(uuid4()),
        attempt=1,
        send_class=options_pb2.SEND_CLASS_PERSON,
        channel_id=str(uuid4()),
        conversation_keys=[f"instagram:1784{target.account_id:010}"],
    )


def _reserve(target: Party, _caller: Party) -> Message:
    return send_service_pb2.ReserveSendRequest(send=_send(target))


def _reserve_batch(target: Party, _caller: Party) -> Message:
    return send_service_pb2.BatchReserveSendsRequest(sends=[_send(target)])


def _settle(target: Party, _caller: Party) -> Message:
    """Of what the target has reserved, given back."""
    settlement = send_service_pb2.Settlement(
        organization_id=str(target.organization_id), delivery_id=str(target.open_delivery_id), attempt=1
    )
    return send_service_pb2.BatchSettleReservationsRequest(settlements=[settlement])


def _policy(_target: Party, _caller: Party) -> Message:
    """For the caller's own organization, which is all that the request can be for."""
    return send_service_pb2.UpdateSendPolicyRequest(number_gap_seconds=5)


def _script(target: Party, _caller: Party) -> Message:
    """Between the target's numbers."""
    return script_service_pb2.CreateScriptRequest(
        name=f"Conversa {uuid4()}", participants=target.participants, topics=["o bolo"]
    )


def _settings(_target: Party, _caller: Party) -> Message:
    """For the caller's own organization too."""
    return script_service_pb2.UpdateConversationSettingsRequest(debounce_seconds=7)


def _terms(_target: Party, _caller: Party) -> Message:
    return send_service_pb2.AcceptTermsRequest(terms_version=TERMS_VERSION)


def _append(target: Party, _caller: Party) -> Message:
    """A part that is kept already: taken as often as it is sent."""
    return list_service_pb2.AppendContactImportFileRequest(
        contact_import_id=str(target.awaited_import_id), part=AWAITED_FILE
    )


def _start_import(target: Party, _caller: Party) -> Message:
    return list_service_pb2.StartContactImportRequest(contact_import_id=str(target.awaited_import_id))


def _start_campaign(target: Party, _caller: Party) -> Message:
    return campaign_service_pb2.StartCampaignRequest(campaign_id=str(target.campaign_to("start")))


def _pause_campaign(target: Party, _caller: Party) -> Message:
    return campaign_service_pb2.PauseCampaignRequest(campaign_id=str(target.campaign_to("pause")))


def _cancel_campaign(target: Party, _caller: Party) -> Message:
    return campaign_service_pb2.CancelCampaignRequest(campaign_id=str(target.campaign_to("cancel")))


BUILDERS: Mapping[str, Callable[[Party, Party], Message]] = {
    "prosa.conversation.v1.CreateScriptRequest": _script,
    "prosa.conversation.v1.UpdateConversationSettingsRequest": _settings,
    "prosa.conversation.v1.BatchRecordInstanceReportsRequest": _number_told_of,
    "prosa.conversation.v1.CreateInstanceRequest": _number,
    "prosa.identity.v1.AcceptInvitationRequest": _accept_link,
    "prosa.identity.v1.CheckInvitationRequest": _check_link,
    "prosa.identity.v1.BackfillContactIdentitiesRequest": _backfill,
    "prosa.identity.v1.CreateSessionRequest": _session,
    "prosa.identity.v1.ConfirmMfaSetupRequest": _setup_code,
    "prosa.identity.v1.ExchangeApiKeyRequest": _exchange,
    "prosa.identity.v1.ExchangeSessionRequest": _cookie,
    "prosa.identity.v1.RevokeApiKeyRequest": _revoke,
    "prosa.identity.v1.SignInRequest": _sign_in,
    "prosa.identity.v1.SignOutRequest": _sign_out,
    "prosa.identity.v1.VerifySessionRequest": _step_up_code,
    "prosa.identity.v1.UpdateOrganizationRequest": _home,
    "prosa.ingest.v1.AcceptWebhooksRequest": _webhook,
    "prosa.ingest.v1.CreateInstanceRequest": _begun_number,
    "prosa.ingest.v1.CreateOutboundEndpointRequest": _endpoint,
    "prosa.ingest.v1.ResolveConnectionKeysRequest": _keys,
    "prosa.outreach.v1.AcceptTermsRequest": _terms,
    "prosa.outreach.v1.AppendContactImportFileRequest": _append,
    "prosa.outreach.v1.StartContactImportRequest": _start_import,
    "prosa.outreach.v1.CancelCampaignRequest": _cancel_campaign,
    "prosa.outreach.v1.PauseCampaignRequest": _pause_campaign,
    "prosa.outreach.v1.StartCampaignRequest": _start_campaign,
    "prosa.outreach.v1.BatchReserveSendsRequest": _reserve_batch,
    "prosa.outreach.v1.BatchSettleReservationsRequest": _settle,
    "prosa.outreach.v1.ReserveSendRequest": _reserve,
    "prosa.outreach.v1.UpdateSendPolicyRequest": _policy,
}
"""Requests that follow from no row: by whose things they name, and who sends them."""

TOLD: Mapping[str, Callable[[Party], str]] = {
    "prosa.ingest.v1.ResolveConnectionKeysRequest": lambda target: target.connection_id
}
"""What a service may be told of the target by a request that holds the target's secret: its answer, and no more."""

PARTS: Mapping[str, Callable[[Party], Message]] = {
    "prosa.ingest.v1.EnsureConversation": _place,
    "prosa.v1.Actor": lambda _: options_pb2.Actor(principal="user:0190c000-0000-7000-8000-000000000001", name="Eva"),
}
"""Parts of requests that name something by several fields."""
