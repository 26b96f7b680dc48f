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

from prosa.identity.v1 import contact_service_pb2
from prosa.v1 import options_pb2
from tests.isolation.builders import BUILDERS, PARTS
from tests.isolation.contracts import Rpc
from tests.isolation.parties import Party

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
PAGING = {"page_size", "page_token", "order", "after_position", "wait_seconds", "request_id"}

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
