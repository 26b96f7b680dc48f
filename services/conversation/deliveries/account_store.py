"""Where and with what connections' messages are sent; the access token stays sealed until it is used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from chassis.crypto import Vault
from chassis.db import Tx
from services.conversation.providers.sender import Account

ACCESS_TOKEN_COLUMN = "provider_accounts.access_token"  # noqa: S105 - the name of a column


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """A row of ``provider_accounts``."""

    organization_id: UUID
    connection_id: UUID
    provider: str
    base_url: str
    provider_account_id: str
    access_token_sealed: bytes | None
    version: int

    @property
    def complete(self) -> bool:
        """Whether anything can be sent with it."""
        return bool(self.base_url and self.access_token_sealed)


async def put(tx: Tx, account: SealedAccount) -> bool:
    """Keeps what a connection has; False where that or something newer is kept."""
    kept = await tx.execute(
        "insert into conversation.provider_accounts as kept (organization_id, connection_id, provider, base_url,"
        " provider_account_id, access_token_sealed, version) values (%(organization_id)s, %(connection_id)s,"
        " %(provider)s, %(base_url)s, %(provider_account_id)s, %(access_token_sealed)s, %(version)s)"
        " on conflict (organization_id, connection_id) do update set provider = excluded.provider,"
        " base_url = excluded.base_url, provider_account_id = excluded.provider_account_id,"
        " access_token_sealed = excluded.access_token_sealed, version = excluded.version"
        " where kept.version < excluded.version",
        {
            "organization_id": account.organization_id,
            "connection_id": account.connection_id,
            "provider": account.provider,
            "base_url": account.base_url,
            "provider_account_id": account.provider_account_id,
            "access_token_sealed": account.access_token_sealed,
            "version": account.version,
        },
    )
    return bool(kept.rowcount)


async def find(tx: Tx, organization_id: UUID, connection_id: UUID) -> SealedAccount | None:
    """What a connection's messages are sent with, None where it has nothing."""
    return (await find_all(tx, [(organization_id, connection_id)])).get(connection_id)


async def find_all(tx: Tx, connections: Collection[tuple[UUID, UUID]]) -> dict[UUID, SealedAccount]:
    """What the messages of organizations' connections are sent with, by connection."""
    organization_ids, connection_ids = zip(*set(connections), strict=True)
    found = await tx.execute(
        "select organization_id, connection_id, provider, base_url, provider_account_id, access_token_sealed, version"
        " from unnest(%(organization_ids)b::uuid[], %(connection_ids)b::uuid[])"
        " as wanted (organization_id, connection_id)"
        " join conversation.provider_accounts using (organization_id, connection_id)",
        {"organization_ids": list(organization_ids), "connection_ids": list(connection_ids)},
    )
    return {
        row.connection_id: SealedAccount(
            organization_id=row.organization_id,
            connection_id=row.connection_id,
            provider=row.provider,
            base_url=row.base_url,
            provider_account_id=row.provider_account_id,
            access_token_sealed=None if row.access_token_sealed is None else bytes(row.access_token_sealed),
            version=row.version,
        )
        for row in found
    }


def opened(sealed: SealedAccount, vault: Vault) -> Account:
    """The account with its token as it is sent. Raises SealBroken."""
    token = b""
    if sealed.access_token_sealed is not None:
        token = vault.open(
            sealed.access_token_sealed, organization_id=sealed.organization_id, column=ACCESS_TOKEN_COLUMN
        )
    return Account(
        *(sealed.organization_id, sealed.connection_id, sealed.provider, sealed.base_url),
        *(sealed.provider_account_id, token.decode()),
    )
