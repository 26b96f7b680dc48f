"""Calling the services as the command line, for one organization or for the installation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

import grpc
import grpc.aio
from grpc_status import rpc_status

from chassis import auth, rpc
from chassis.clock import SystemClock
from chassis.system import SERVICES
from cli.failures import REFUSED, Refused
from cli.home import home_directory, keys_directory, read_bootstrap

PRINCIPAL = "cli"
CALL_SECONDS = 10.0
PAGE_SIZE = 250
PAGE_COUNT_MAX = 400
"""Nobody reads more than a hundred thousand rows in a terminal."""

Stub = TypeVar("Stub")


class Calls:
    """Stubs that sign as the command line. `addresses` is by service; `anywhere` serves those it does not name."""

    def __init__(self, signer: auth.TokenSigner, addresses: Mapping[str, str], anywhere: str = "") -> None:
        self._signer = signer
        self._addresses = dict(addresses)
        self._anywhere = anywhere
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(self, stub: Callable[[grpc.aio.Channel], Stub], service: str) -> Stub:
        """A stub of the service."""
        address = self._addresses.get(service) or self._anywhere
        if not address:
            raise Refused(
                f"PROSA_{service.upper()}_ADDRESS is not set. Set it to host:port of the service {service}.",
                exit_code=REFUSED,
            )
        if address not in self._channels:
            self._channels[address] = rpc.open_channel(address, self._signer)
        return stub(self._channels[address])

    def organization(self, organization_id: str) -> grpc.aio.Metadata:
        """Metadata of a call that is made for one organization."""
        return rpc.for_organization(UUID(organization_id))

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close()


@asynccontextmanager
async def open_calls(environment: Mapping[str, str] | None = None) -> AsyncIterator[Calls]:
    """Calls to the services that PROSA_* names, else to the running `prosa up`. Raises Refused without either."""
    values = os.environ if environment is None else environment
    bootstrap = read_bootstrap(values)
    addresses = service_addresses(values)
    anywhere = values.get("PROSA_GRPC_ADDRESS") or bootstrap.get("grpc_address") or ""
    if not addresses and not anywhere:
        raise nothing_runs(values)
    calls = Calls(cli_signer(values), addresses, anywhere)
    try:
        yield calls
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(cast("grpc.Call", error)) is None:
            raise _nobody_there(values, [*addresses.values(), *filter(None, [anywhere])]) from error
        raise
    finally:
        await calls.close()


def service_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses that PROSA_<SERVICE>_ADDRESS names, by service."""
    return {
        service: address for service in SERVICES if (address := environment.get(f"PROSA_{service.upper()}_ADDRESS"))
    }


def nothing_runs(environment: Mapping[str, str]) -> Refused:
    """Says where was looked, and what chooses another place."""
    named = environment.get("PROSA_HOME")
    whence = "which PROSA_HOME names" if named else "the usual home; PROSA_HOME names another"
    return Refused(
        f"Nothing runs in {home_directory(environment)} ({whence}). Start it with `prosa up`, or name the services "
        "with PROSA_GRPC_ADDRESS and PROSA_KEYS_DIR.",
        reason="NOT_RUNNING",
    )


def _nobody_there(values: Mapping[str, str], addresses: Sequence[str]) -> Refused:
    where = " or ".join(dict.fromkeys(addresses))
    named = any(value for name, value in values.items() if name.startswith("PROSA_") and name.endswith("_ADDRESS"))
    do = (
        "Look at PROSA_GRPC_ADDRESS, or PROSA_<SERVICE>_ADDRESS, and whether the services run there."
        if named
        else f"`prosa up` in {home_directory(values)} is just starting, or was killed: start it again."
    )
    return Refused(f"Nothing answers at {where}. {do}", reason="SERVICE_UNAVAILABLE")


def cli_signer(environment: Mapping[str, str]) -> auth.TokenSigner:
    """Signs tokens as the command line, with `cli.key`."""
    directory = keys_directory(environment)
    try:
        key = auth.load_private_key(directory, PRINCIPAL)
    except FileNotFoundError as error:
        raise Refused(
            f"{directory / 'cli.key'} is missing. Name the directory of the keys with PROSA_KEYS_DIR.",
            reason="KEY_MISSING",
        ) from error
    return auth.TokenSigner(PRINCIPAL, key, SystemClock())


async def all_pages(
    call: Callable[..., Any], request: Any, field: str, limit: int | None = None, **kwargs: Any
) -> list[Any]:
    """The items of all pages of a list RPC, or its first `limit`."""
    items: list[Any] = []
    request.page_size = min(PAGE_SIZE, limit or PAGE_SIZE)
    for _ in range(PAGE_COUNT_MAX):
        page = await call(request, timeout=CALL_SECONDS, **kwargs)
        items.extend(getattr(page, field))
        if not page.next_page_token or (limit is not None and len(items) >= limit):
            break
        request.page_token = page.next_page_token
    return items if limit is None else items[:limit]
