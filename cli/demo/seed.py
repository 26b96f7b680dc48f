"""Makes the demo's organization, board, connection, channels and API key; what is there already is found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cli.calls import CALL_SECONDS, Calls, all_pages
from cli.demo import state as states
from cli.demo.state import DemoState
from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connections
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1.options_pb2 import SOURCE_INSTAGRAM, SOURCE_WHATSAPP

ORGANIZATION = "Escola Ipê Idiomas"
BOARD_NAME = "Atendimento"
BOARD_KEY = "atendimento"
CONNECTION = "Chatwoot da escola"
API_KEY_NAME = "Demonstração"
ACCOUNT_ID = 7
WHATSAPP_INBOX_ID = 21
INSTAGRAM_INBOX_ID = 22
CHANNELS = (
    ("WhatsApp Escola Ipê", SOURCE_WHATSAPP, WHATSAPP_INBOX_ID),
    ("@escolaipe", SOURCE_INSTAGRAM, INSTAGRAM_INBOX_ID),
)


async def seed_demo(calls: Calls, home: Path, chatwoot_url: str) -> DemoState:
    """Makes whatever is missing and answers what the home then remembers of it."""
    # Drawn and kept before it is used: a start that breaks off here finds its own words again.
    state = states.save(home, states.drawn(states.load(home)))
    organization_id = await _organization(calls, state)
    if organization_id != state.organization_id:
        state = replace(state, organization_id=organization_id, connection_id="", api_key_id="", api_key="")
    await ensure_board(calls, organization_id)
    state = await _connection(calls, state, chatwoot_url)
    await _channels(calls, state)
    return states.save(home, await _api_key(calls, state))


async def ensure_board(calls: Calls, organization_id: str) -> str:
    """The board that new organizations begin with; answers its id."""
    stub, metadata = calls.stub(CrmServiceStub, "crm"), calls.organization(organization_id)
    boards = await all_pages(stub.ListBoards, crm.ListBoardsRequest(), "boards", metadata=metadata)
    for board in boards:
        if board.default_board:
            return str(board.board_id)
    made = await stub.CreateBoard(
        crm.CreateBoardRequest(key=BOARD_KEY, name=BOARD_NAME, default_board=True),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )
    return made.board_id


async def _organization(calls: Calls, state: DemoState) -> str:
    stub = calls.stub(AccessServiceStub, "identity")
    answer = await stub.CreateOrganization(
        access.CreateOrganizationRequest(
            name=ORGANIZATION, admin_email=state.admin_email, admin_password=state.admin_password
        ),
        timeout=CALL_SECONDS,
    )
    return answer.organization.organization_id


async def _connection(calls: Calls, state: DemoState, chatwoot_url: str) -> DemoState:
    stub, metadata = calls.stub(ConnectionServiceStub, "ingest"), calls.organization(state.organization_id)
    found = await all_pages(
        stub.ListConnections, connections.ListConnectionsRequest(), "connections", metadata=metadata
    )
    connection = next((item for item in found if item.name == CONNECTION), None)
    if connection is None:
        connection = await stub.CreateConnection(
            connections.CreateConnectionRequest(
                name=CONNECTION,
                account_id=ACCOUNT_ID,
                base_url=chatwoot_url,
                access_token=state.access_token,
                webhook_secret=state.webhook_secret,
            ),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
        return replace(state, connection_id=connection.connection_id, webhook_path=connection.webhook_path)
    if connection.connection_id != state.connection_id:
        # It was made by a run whose memory is lost, and its secret with it.
        await stub.AddWebhookSecret(
            connections.AddWebhookSecretRequest(
                connection_id=connection.connection_id, webhook_secret=state.webhook_secret, only=True
            ),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    # The fake may listen elsewhere now, or ask for another token; where it does not, this changes nothing.
    await stub.UpdateConnection(
        connections.UpdateConnectionRequest(
            connection_id=connection.connection_id, base_url=chatwoot_url, access_token=state.access_token
        ),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )
    return replace(state, connection_id=connection.connection_id, webhook_path=connection.webhook_path)


async def _channels(calls: Calls, state: DemoState) -> None:
    stub, metadata = calls.stub(ConnectionServiceStub, "ingest"), calls.organization(state.organization_id)
    request = connections.ListChannelsRequest(connection_id=state.connection_id)
    known = {item.inbox_id for item in await all_pages(stub.ListChannels, request, "channels", metadata=metadata)}
    for name, source, inbox_id in CHANNELS:
        if inbox_id not in known:
            await stub.CreateChannel(
                connections.CreateChannelRequest(
                    connection_id=state.connection_id, name=name, source=source, inbox_id=inbox_id
                ),
                metadata=metadata,
                timeout=CALL_SECONDS,
            )


async def _api_key(calls: Calls, state: DemoState) -> DemoState:
    stub, metadata = calls.stub(AccessServiceStub, "identity"), calls.organization(state.organization_id)
    keys = await all_pages(stub.ListApiKeys, access.ListApiKeysRequest(), "api_keys", metadata=metadata)
    live = {item.api_key_id for item in keys if not item.HasField("revoke_time")}
    if state.api_key and state.api_key_id in live:
        return state
    made = await stub.CreateApiKey(
        access.CreateApiKeyRequest(name=API_KEY_NAME, scopes=["*"]), metadata=metadata, timeout=CALL_SECONDS
    )
    return replace(state, api_key_id=made.api_key.api_key_id, api_key=made.secret)
