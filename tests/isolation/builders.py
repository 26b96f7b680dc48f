"""Requests that no row tells how to make: by whose things they name, and who sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from google.protobuf.message import Message

from prosa.conversation.v1 import instance_service_pb2, script_service_pb2, settings_service_pb2
from prosa.identity.v1 import access_service_pb2, contact_service_pb2, member_service_pb2, session_service_pb2
from prosa.ingest.v1 import connection_service_pb2, ingest_service_pb2, outbound_service_pb2
from prosa.outreach.v1 import campaign_service_pb2, list_service_pb2, send_service_pb2
from prosa.v1 import options_pb2
from sandbox.chatwoot.signing import signed_request
from services.outreach.sending.terms import TERMS_VERSION
from tests.harness import INSTAGRAM_INBOX
from tests.isolation.parties import AWAITED_FILE, PASSWORD, Party


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


def _changed_member(target: Party, _caller: Party) -> Message:
    return member_service_pb2.UpdateMemberRequest(user_id=target.colleague_ids[0], role=options_pb2.ROLE_VIEWER)


def _removed_member(target: Party, _caller: Party) -> Message:
    """The colleague whom nothing else is about."""
    return member_service_pb2.DeleteMemberRequest(user_id=target.colleague_ids[1])


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
    return settings_service_pb2.UpdateConversationSettingsRequest(debounce_seconds=7)


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
    "prosa.identity.v1.DeleteMemberRequest": _removed_member,
    "prosa.identity.v1.UpdateMemberRequest": _changed_member,
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
