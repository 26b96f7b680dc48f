"""AccessService: translate, call, translate."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any
from uuid import UUID

import grpc
from phonenumbers import SUPPORTED_REGIONS

from chassis import auth, wire
from chassis.clock import Clock
from chassis.context import client_network
from chassis.crypto import Vault
from chassis.db import Database, Tx, scope
from chassis.enums import enum_number
from chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unauthenticated,
)
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from chassis.paging import read_page
from prosa.identity.v1 import access_service_pb2 as pb
from prosa.identity.v1 import access_service_pb2_grpc as pb_grpc
from prosa.identity.v1 import events_pb2
from prosa.v1 import options_pb2
from services.identity.access import domain as access_domain
from services.identity.access import member_store
from services.identity.access import store as access_store
from services.identity.access.domain import ApiKey, Organization
from services.identity.access.guesses import Places
from services.identity.access.passwords import Passwords
from services.identity.access.scopes import existing_scopes
from services.identity.access.second_factor import SecondFactor
from services.identity.access.sign_in import SignIn
from services.identity.audit.audit import Audit, Target
from services.identity.contacts import people

REGION = "BR"
TIME_ZONE = "America/Sao_Paulo"
GRANT_TYPE = "client_credentials"
SECRET_COLUMN = "api_keys.sealed_secret"  # noqa: S105 - the name of a column

Context = grpc.aio.ServicerContext[Any, Any]


class AccessServicer(pb_grpc.AccessServiceServicer):
    """Organizations, API keys, sign-in and tokens."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        signer: auth.TokenSigner,
        vault: Vault,
        passwords: Passwords,
        sign_in: SignIn,
        second_factor: SecondFactor,
        random_bytes: Callable[[int], bytes],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids = clock, ids
        self._signer, self._vault, self._passwords, self._random_bytes = signer, vault, passwords, random_bytes
        self._sign_in, self._second_factor = sign_in, second_factor
        self._key_places = Places(
            refusal=_key_guesses_limited,
            total=access_domain.KEY_LOOKUPS_AT_ONCE_MAX,
            per_network=access_domain.KEY_LOOKUPS_PER_NETWORK_MAX,
            failures_free=access_domain.KEY_FAILURES_FREE,
            window_seconds=access_domain.SIGN_IN_WINDOW.total_seconds(),
        )

    async def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, context: Context
    ) -> pb.CreateOrganizationResponse:
        name, email = people.clean(request.name), people.require_email(request.admin_email)
        if not name:
            raise InvalidArgument("NAME_INVALID", "Give the organization a name.")
        wanted = Organization(
            id=self._ids.new(),
            name=name,
            region=access_domain.checked_region(request.region or REGION, SUPPORTED_REGIONS),
            time_zone=_checked_time_zone(request.time_zone or TIME_ZONE),
            create_time=self._clock.now(),
            locale=access_domain.LOCALE,
        )
        password = request.admin_password or access_domain.draw_password(self._random_bytes)
        password_hash = await self._passwords.hash(access_domain.checked_password(password))
        async with self._db.transaction(wanted.id) as tx:
            await access_store.lock_name(tx, f"organization/{name}/{email}")
            await access_store.lock_name(tx, f"user/{email}")
            known = await access_store.look_up_organization(tx, name, email)
            if known is not None:
                await scope(tx, [known])
                organization = await access_store.find_organization(tx, known)
                return pb.CreateOrganizationResponse(organization=_organization(organization), admin_email=email)
            user_id = await access_store.look_up_user(tx, email)
            if user_id is not None and not request.existing_account:
                await self._require_proven(tx, user_id, email)
                await scope(tx, [wanted.id])
            await self._insert_organization(tx, wanted, email, user_id, password_hash)
        return pb.CreateOrganizationResponse(
            organization=_organization(wanted),
            created=True,
            admin_email=email,
            admin_password=password if user_id is None else "",
        )

    async def _require_proven(self, tx: Tx, user_id: UUID, email: str) -> None:
        """Raises FailedPrecondition ACCOUNT_UNPROVEN where no operator has named the account's e-mail before.

        An invitation's link is shown to whoever invites: they may have accepted it themselves, in anybody's name.
        """
        await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
        if not await access_store.is_first_owner(tx, email):
            raise FailedPrecondition(
                "ACCOUNT_UNPROVEN",
                f"{email} has an account that came of another organization's invitation, and whoever has its password "
                "would own this one. Ask its holder: if it is theirs, say so with existing_account "
                "(prosa org create --existing-account); else name another e-mail.",
            )

    async def _insert_organization(
        self, tx: Tx, wanted: Organization, email: str, user_id: UUID | None, password_hash: str
    ) -> None:
        """Inserts an organization with its first owner, who is new where they have no id yet."""
        now = wanted.create_time
        await access_store.insert_organization(tx, wanted, email)
        owner_id = user_id or self._ids.new()
        await access_store.insert_member(tx, wanted.id, owner_id, "OWNER", now)
        if user_id is None:
            await access_store.insert_user(tx, owner_id, email, password_hash, now)
        created = events_pb2.OrganizationCreated(
            organization_id=str(wanted.id),
            name=wanted.name,
            organization=_organization(wanted),
            version=wanted.version,
        )
        await self._outbox.add(tx, [Fact(wanted.id, created)], now)

    async def GetOrganization(self, request: pb.GetOrganizationRequest, context: Context) -> pb.Organization:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            return _organization(await access_store.find_organization(tx, organization_id))

    async def UpdateOrganization(self, request: pb.UpdateOrganizationRequest, context: Context) -> pb.Organization:
        organization_id, now = auth.organization_id(), self._clock.now()
        region = time_zone = locale = None
        if request.HasField("region"):
            region = access_domain.checked_region(request.region, SUPPORTED_REGIONS)
        if request.HasField("time_zone"):
            time_zone = _checked_time_zone(request.time_zone)
        if request.HasField("locale"):
            locale = access_domain.checked_locale(request.locale)
        if region is time_zone is locale is None:
            raise InvalidArgument("NOTHING_TO_CHANGE", "Name what is to change: region, time_zone or locale.")

        async def update(tx: Tx) -> pb.Organization:
            before = await access_store.lock_organization(tx, organization_id)
            access_domain.etag_fresh(request.etag, before.version)
            after = before.moved(region, time_zone, locale)
            answer = _organization(after)
            if after is not before:
                await access_store.update_organization(tx, after)
                updated = events_pb2.OrganizationUpdated(
                    organization_id=str(organization_id), organization=answer, version=after.version
                )
                await self._outbox.add(tx, [Fact(organization_id, updated)], now)
                await self._audit.of_caller(
                    tx,
                    organization_id,
                    "AccessService.UpdateOrganization",
                    Target("organization", organization_id, _organization(before), answer),
                    now,
                )
            return answer

        return await self._idempotency.once(self._db, organization_id, request, pb.Organization, now, update)

    async def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, context: Context
    ) -> pb.ListOrganizationsResponse:
        page = read_page(request, key_length=2)
        last_id = page.after_id()
        after = (page.after[0], last_id) if page.after is not None and last_id is not None else None
        async with self._db.transaction() as tx:
            found = await access_store.look_up_organizations(tx, after, page.size + 1)
            await scope(tx, found)
            organizations = await access_store.find_organizations(tx, found)
        shown, token = page.cut(organizations, lambda organization: [organization.name, organization.id])
        return pb.ListOrganizationsResponse(
            organizations=[_organization(organization) for organization in shown], next_page_token=token
        )

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        organization_id, now = auth.organization_id(), self._clock.now()
        scopes, name = access_domain.checked_scopes(request.scopes, existing_scopes()), people.clean(request.name)
        if not name:
            raise InvalidArgument("NAME_INVALID", "Give the API key a name.")
        async with self._db.transaction(organization_id) as tx:
            await access_store.find_organization(tx, organization_id)
            answer = await self._idempotency.claim(
                tx, organization_id, "CreateApiKey", request, pb.CreateApiKeyResponse, now
            )
            if answer is not None:
                return await self._shown_again(tx, organization_id, answer)
            secret = access_domain.draw_secret(self._random_bytes)
            key = ApiKey(self._ids.new(), name, secret[: access_domain.PREFIX_LENGTH], scopes, now, None, None)
            sealed = None
            if request.request_id:
                sealed = self._vault.seal(secret.encode(), organization_id=organization_id, column=SECRET_COLUMN)
            await access_store.drop_sealed_secrets(tx, organization_id, now - access_domain.SEALED_SECRETS_KEPT)
            await access_store.insert_api_key(tx, organization_id, key, access_domain.secret_hash(secret), sealed)
            # The stored answer lacks the secret, which is kept sealed beside the key until its first use.
            answer = pb.CreateApiKeyResponse(api_key=_api_key(key))
            await self._idempotency.keep(tx, organization_id, request, answer)
            await self._audit.of_caller(
                tx, organization_id, "AccessService.CreateApiKey", Target("api_key", key.id, None, answer.api_key), now
            )
        answer.secret = secret
        return answer

    async def _shown_again(
        self, tx: Tx, organization_id: UUID, answer: pb.CreateApiKeyResponse
    ) -> pb.CreateApiKeyResponse:
        sealed = await access_store.sealed_secret_of(tx, organization_id, UUID(answer.api_key.api_key_id))
        if sealed is None:
            raise FailedPrecondition(
                "SECRET_ALREADY_USED", "This key has been used, so its secret is not shown again. Create a new key."
            )
        answer.secret = self._vault.open(sealed, organization_id=organization_id, column=SECRET_COLUMN).decode()
        return answer

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        async with self._db.transaction(organization_id) as tx:
            keys = await access_store.list_api_keys(tx, organization_id, page.after_id(), page.size + 1)
        shown, token = page.cut(keys, lambda key: [key.id])
        return pb.ListApiKeysResponse(api_keys=[_api_key(key) for key in shown], next_page_token=token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.ApiKey:
        organization_id, now = auth.organization_id(), self._clock.now()
        api_key_id = wire.to_uuid("api_key_id", request.api_key_id)
        async with self._db.transaction(organization_id) as tx:
            before = await access_store.find_api_key(tx, organization_id, api_key_id)
            revoked = await access_store.revoke_api_key(tx, organization_id, api_key_id, now)
            key = await access_store.find_api_key(tx, organization_id, api_key_id)
            if revoked:
                principal = f"key:{api_key_id}"
                await access_store.insert_revocation(tx, organization_id, principal, now)
                fact = events_pb2.PrincipalRevoked(
                    organization_id=str(organization_id), principal=principal, revoke_time=wire.to_timestamp(now)
                )
                await self._outbox.add(tx, [Fact(organization_id, fact)], now)
                target = Target("api_key", api_key_id, _api_key(before), _api_key(key))
                await self._audit.of_caller(tx, organization_id, "AccessService.RevokeApiKey", target, now)
        return _api_key(key)

    async def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, context: Context) -> pb.Token:
        if request.grant_type not in ("", GRANT_TYPE):
            raise InvalidArgument("GRANT_TYPE_INVALID", f"The grant_type is {GRANT_TYPE}.")
        network = client_network.get()
        with self._key_places.take(network) as place:
            found = await self._look_up_key(access_domain.secret_hash(request.client_secret))
            if found is None:
                self._key_places.wrong(network, place)
                raise Unauthenticated("API_KEY_INVALID", "This API key is unknown or was revoked.")
        organization_id, key = found
        token, seconds = self._signer.person_token(
            kind="key",
            principal=f"key:{key.id}",
            organization_id=organization_id,
            scopes=key.scopes,
            name=key.name,
        )
        return _token(token, seconds, organization_id)

    async def _look_up_key(self, secret_hash: str) -> tuple[UUID, ApiKey] | None:
        """Organization and key, now used; None where it is unknown or was revoked."""
        minute = self._clock.now().replace(second=0, microsecond=0)
        async with self._db.transaction() as tx:
            found = await access_store.look_up_api_key(tx, secret_hash)
            if found is None:
                return None
            organization_id, api_key_id = found
            await scope(tx, [organization_id])
            key = await access_store.find_api_key(tx, organization_id, api_key_id)
            if key.revoke_time is not None:
                return None
            if key.last_use_time != minute:
                await access_store.mark_api_key_used(tx, organization_id, api_key_id, minute)
        return organization_id, key

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.Token:
        signed_in = await self._sign_in.check(
            people.clean(request.email).lower(),
            request.password,
            wire.to_optional_uuid("organization_id", request.organization_id),
            client_network.get(),
        )
        mfa_time = await self._second_factor.at_sign_in(signed_in.user_id, request.mfa_code, client_network.get())
        chosen = signed_in.memberships[0]
        async with self._db.transaction(chosen.organization_id) as tx:
            now = self._clock.now()
            minute = now.replace(second=0, microsecond=0)
            await member_store.note_sign_in(tx, chosen.organization_id, signed_in.user_id, minute)
            await self._audit.of_person(
                tx,
                chosen.organization_id,
                signed_in.user_id,
                people.clean(request.email).lower(),
                "AccessService.CreateSession",
                Target("user", signed_in.user_id),
                now,
            )
        token, seconds = self._signer.person_token(
            kind="user",
            principal=f"user:{signed_in.user_id}",
            organization_id=chosen.organization_id,
            role=enum_number(options_pb2.Role, chosen.role),
            name=people.clean(request.email).lower(),
            mfa_time=mfa_time,
            mfa_set_up=mfa_time is not None,
        )
        return _token(token, seconds, chosen.organization_id)

    async def ListRevocations(self, request: pb.ListRevocationsRequest, context: Context) -> pb.ListRevocationsResponse:
        async with self._db.transaction() as tx:
            revoked = await access_store.list_revoked(tx, self._clock.now() - access_domain.REVOCATIONS_KEPT)
        return pb.ListRevocationsResponse(
            revocations=[
                pb.Revocation(principal=principal, revoke_time=wire.to_timestamp(moment))
                for principal, moment in revoked
            ]
        )


def _key_guesses_limited(seconds: int) -> ResourceExhausted:
    return ResourceExhausted(
        "KEY_GUESSES_LIMITED",
        "Too many unknown API keys were tried from this network. Try again in a moment.",
        retry_after_seconds=str(seconds),
    )


def _organization(organization: Organization) -> pb.Organization:
    return pb.Organization(
        organization_id=str(organization.id),
        name=organization.name,
        region=organization.region,
        time_zone=organization.time_zone,
        create_time=wire.to_timestamp(organization.create_time),
        locale=organization.locale,
        etag=str(organization.version),
    )


def _api_key(key: ApiKey) -> pb.ApiKey:
    return pb.ApiKey(
        api_key_id=str(key.id),
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        create_time=wire.to_timestamp(key.create_time),
        revoke_time=wire.to_timestamp(key.revoke_time),
        last_use_time=wire.to_timestamp(key.last_use_time),
    )


def _token(token: str, seconds: int, organization_id: UUID) -> pb.Token:
    return pb.Token(
        access_token=token,
        token_type=access_domain.TOKEN_TYPE,
        expires_in=seconds,
        organization_id=str(organization_id),
    )


def _checked_time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument("TIME_ZONE_INVALID", "Name a time zone like America/Sao_Paulo.") from None
    return name
