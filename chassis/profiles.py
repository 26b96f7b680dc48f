"""Organizations' profiles: where each is at home, as identity announces it, kept beside what needs to know.

Kept by event; what is not there yet is asked of identity once. A process remembers a profile for a few seconds, so that
those that do not consume the event learn of a change soon after.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import grpc.aio

from chassis import rpc
from chassis.db import Database, Tx
from chassis.process import Process
from chassis.subscriptions import ConsumedEvent
from prosa.identity.v1.access_service_pb2 import GetOrganizationRequest, Organization
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.events_pb2 import OrganizationUpdated

CONSUMER = "organization_profiles"
REMEMBER_SECONDS = 5.0
REMEMBERED_MAX = 10_000

Ask = Callable[[UUID], Awaitable[Organization]]


@dataclass(frozen=True, slots=True)
class Profile:
    """Where an organization is at home."""

    organization_id: UUID
    region: str
    time_zone: str
    locale: str
    version: int


class Profiles:
    """The profiles that one schema keeps."""

    def __init__(self, db: Database, schema: str, ask: Ask, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db, self._ask, self._monotonic = db, ask, monotonic
        self._table = f"{schema}.organization_profiles"
        self._remembered: OrderedDict[UUID, tuple[float, Profile]] = OrderedDict()

    async def of(self, organization_id: UUID) -> Profile:
        """One organization's. To be asked outside of transactions: it opens one of its own, and may ask identity.

        Raises what identity raises.
        """
        known = self._remembered.get(organization_id)
        if known is not None and known[0] > self._monotonic():
            return known[1]
        async with self._db.transaction(organization_id) as tx:
            found = await self._read(tx, organization_id)
        if found is None:
            asked = _profile(organization_id, await self._ask(organization_id))
            async with self._db.transaction(organization_id) as tx:
                await self._keep(tx, [asked])
                # An event may have brought a newer one meanwhile.
                found = await self._read(tx, organization_id) or asked
        self._remembered[organization_id] = self._monotonic() + REMEMBER_SECONDS, found
        self._remembered.move_to_end(organization_id)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return found

    async def on_updated(self, tx: Tx, events: Sequence[ConsumedEvent[OrganizationUpdated]]) -> None:
        """Keeps what changed, and forgets what this process remembers of it."""
        newest: dict[UUID, Profile] = {}
        for event in events:
            profile = _profile(event.organization_id, event.message.organization)
            if profile.version > (newest[profile.organization_id].version if profile.organization_id in newest else 0):
                newest[profile.organization_id] = profile
        await self._keep(tx, [newest[organization_id] for organization_id in sorted(newest)])

        def forget() -> None:
            for organization_id in newest:
                self._remembered.pop(organization_id, None)

        tx.after_commit(forget)

    async def _read(self, tx: Tx, organization_id: UUID) -> Profile | None:
        rows = await tx.execute(
            f"select organization_id, region, time_zone, locale, version from {self._table}"
            " where organization_id = %(id)s",
            {"id": organization_id},
        )
        row = rows.one_or_none()
        return None if row is None else Profile(*row)

    async def _keep(self, tx: Tx, profiles: Sequence[Profile]) -> None:
        await tx.execute(
            f"""
            insert into {self._table} as kept (organization_id, region, time_zone, locale, version)
            select * from unnest(%(ids)b::uuid[], %(regions)b::text[], %(time_zones)b::text[], %(locales)b::text[],
              %(versions)b::bigint[])
            on conflict (organization_id) do update
              set region = excluded.region, time_zone = excluded.time_zone, locale = excluded.locale,
                version = excluded.version
              where kept.version < excluded.version
            """,
            {
                "ids": [profile.organization_id for profile in profiles],
                "regions": [profile.region for profile in profiles],
                "time_zones": [profile.time_zone for profile in profiles],
                "locales": [profile.locale for profile in profiles],
                "versions": [profile.version for profile in profiles],
            },
        )


def follow_profiles(process: Process) -> Profiles:
    """The profiles of a service's own schema, kept by event from now on."""
    stub = process.stub(AccessServiceStub, "identity")

    async def ask(organization_id: UUID) -> Organization:
        try:
            return await stub.GetOrganization(GetOrganizationRequest(), metadata=rpc.for_organization(organization_id))
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error

    profiles = Profiles(process.database(), process.service, ask)
    process.consumer(CONSUMER).on(OrganizationUpdated, profiles.on_updated)
    return profiles


def _profile(organization_id: UUID, organization: Organization) -> Profile:
    # The etag of the release before is empty: whatever comes after is newer.
    version = int(organization.etag or 0)
    return Profile(organization_id, organization.region, organization.time_zone, organization.locale, version)
