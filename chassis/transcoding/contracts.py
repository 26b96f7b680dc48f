"""The contracts as this process knows them: every message and service of the package ``prosa``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache

import google.api.annotations_pb2  # registers the HTTP options
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor

import prosa
from chassis.system import SERVICES


@cache
def files() -> tuple[FileDescriptor, ...]:
    """Answers every .proto file of the contracts, by name."""
    assert google.api.annotations_pb2.http is not None
    names = sorted(module.name for module in pkgutil.walk_packages(prosa.__path__, "prosa."))
    modules = [importlib.import_module(name) for name in names if name.endswith("_pb2")]
    return tuple(module.DESCRIPTOR for module in modules)


@cache
def services() -> tuple[ServiceDescriptor, ...]:
    """Answers every service of the services, in the order of files."""
    found: list[ServiceDescriptor] = []
    for file in files():
        if service_of(file.package) in SERVICES:
            found.extend(file.services_by_name.values())
    return tuple(found)


def service_of(full_name: str) -> str:
    """Answers the service that a full name belongs to: "identity" for "prosa.identity.v1.Contact"."""
    parts = full_name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "prosa" else ""


def message_descriptors() -> Iterator[Descriptor]:
    """Walks through every message of the contracts, nested ones behind their parents, without map entries."""
    for file in files():
        for message in file.message_types_by_name.values():
            yield from _with_nested(message)


@cache
def _messages_by_name() -> dict[str, Descriptor]:
    return {descriptor.full_name: descriptor for descriptor in message_descriptors()}


def message_descriptor(full_name: str) -> Descriptor | None:
    """Answers a message by its full name, or None where these contracts have no such message."""
    return _messages_by_name().get(full_name)


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _with_nested(nested)
