"""The scopes that there are: those by which the contracts' RPCs are allowed to API keys."""

from __future__ import annotations

from functools import cache
from importlib import resources

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from prosa.v1 import options_pb2

DESCRIPTOR_SET = "descriptors.binpb"


@cache
def existing_scopes() -> frozenset[str]:
    """Every scope that some RPC of some service asks for."""
    contracts = FileDescriptorSet.FromString((resources.files("prosa") / DESCRIPTOR_SET).read_bytes())
    permissions = (
        method.options.Extensions[options_pb2.permission]
        for file in contracts.file
        for service in file.service
        for method in service.method
    )
    return frozenset(permission.scope for permission in permissions if permission.scope)
