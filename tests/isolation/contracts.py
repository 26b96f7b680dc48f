"""Every RPC of the contracts, by their descriptors. A new one is found here by itself."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc.aio
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import prosa.v1
from prosa.v1 import options_pb2

GENERATED = Path(next(iter(prosa.v1.__path__))).parent
_SESSION = "/prosa.identity.v1.SessionService/"
TAKING_CODES = frozenset({f"{_SESSION}ConfirmMfaSetup", f"{_SESSION}VerifySession"})
"""RPCs that take a code of the caller's authenticator; tests/integration/identity shows them with right ones."""
OF_THE_PERSON = TAKING_CODES | {f"{_SESSION}BeginMfaSetup", f"{_SESSION}SwitchOrganization"}
"""RPCs about the calling person alone, whose session and second factor are found by the person's own ids."""
STREAMED_MAX = 100
STREAM_SECONDS = 10.0
STREAM_IDLE_SECONDS = 0.25
"""A stream of the feed never ends; what is there comes at once, after the first message."""


@dataclass(frozen=True)
class Rpc:
    """One RPC and what its contract says of it."""

    name: str
    """``/package.Service/Method``."""
    service: str
    permission: options_pb2.Permission
    declared: bool
    request_type: type[Message]
    answer_type: type[Message]
    streaming: bool
    path_fields: frozenset[str]
    """What every REST path of it names, and so every call must."""

    def __str__(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def method(self) -> str:
        """The method's own name."""
        return self.name.rpartition("/")[2]

    @property
    def reads(self) -> bool:
        """True where it answers and changes nothing."""
        return self.streaming or self.method.startswith(("Get", "List"))

    @property
    def lists(self) -> bool:
        """True where it answers many and may be asked for some of them."""
        return self.streaming or self.method.startswith("List")

    @property
    def of_one(self) -> bool:
        """True where it is about one organization; what only operators and services call may be about all."""
        return bool(self.permission.role or self.permission.scope or self.permission.one_organization)

    async def call(self, channel: grpc.aio.Channel, request: Message) -> list[Message]:
        """What the server answers: one message, or those of a stream that are there."""
        if not self.streaming:
            unary = channel.unary_unary(
                self.name,
                request_serializer=self.request_type.SerializeToString,
                response_deserializer=self.answer_type.FromString,
            )
            return [await unary(request)]
        stream = channel.unary_stream(
            self.name,
            request_serializer=self.request_type.SerializeToString,
            response_deserializer=self.answer_type.FromString,
        )(request, timeout=STREAM_SECONDS)
        received: list[Message] = []
        idle_seconds = STREAM_SECONDS
        with suppress(TimeoutError):
            while len(received) < STREAMED_MAX:
                answer = await asyncio.wait_for(stream.read(), idle_seconds)
                if answer is grpc.aio.EOF:
                    break
                received.append(cast("Message", answer))
                idle_seconds = STREAM_IDLE_SECONDS
        stream.cancel()
        return received


def all_rpcs() -> list[Rpc]:
    """Every RPC of every service, by name."""
    return sorted((_rpc(method) for method in _methods()), key=lambda rpc: rpc.name)


def all_scopes() -> list[str]:
    """Every scope that some contract names."""
    return sorted({rpc.permission.scope for rpc in all_rpcs()} - {""})


def _methods() -> Iterator[MethodDescriptor]:
    for path in sorted(GENERATED.glob("*/v1/*_pb2.py")):
        module: Any = importlib.import_module(f"prosa.{path.parent.parent.name}.v1.{path.stem}")
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def _rpc(method: MethodDescriptor) -> Rpc:
    options = method.GetOptions()
    return Rpc(
        name=f"/{method.containing_service.full_name}/{method.name}",
        service=method.containing_service.full_name.split(".")[1],
        permission=options.Extensions[options_pb2.permission],
        declared=options.HasExtension(options_pb2.permission),
        request_type=GetMessageClass(method.input_type),
        answer_type=GetMessageClass(method.output_type),
        streaming=method.server_streaming,
        path_fields=_path_fields(options.Extensions[annotations_pb2.http]),
    )


def _path_fields(http: http_pb2.HttpRule) -> frozenset[str]:
    bindings = [http, *http.additional_bindings]
    paths = [getattr(binding, binding.WhichOneof("pattern") or "get") for binding in bindings]
    return frozenset.intersection(*(frozenset(re.findall(r"{(\w+)", path)) for path in paths))
