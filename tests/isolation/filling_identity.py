"""What the filled database holds of identity: colleagues, promoted ids and merged contacts."""

from __future__ import annotations

from uuid import UUID, uuid4

from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1 import member_service_pb2 as member_pb
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from prosa.v1 import options_pb2
from tests.browser import Authenticator
from tests.isolation.parties import INSTAGRAM, PASSWORD, WHATSAPP, Party
from tests.world import AGENT, World


async def invite(world: World, organization_id: UUID, name: str) -> tuple[list[str], list[str]]:
    """A colleague who came by a link and has a second factor, two more who came, and one who was removed.

    Two are invited still. Answers those links' secrets, and the ids of the two who came."""
    owner, anybody = (act.stub(MemberServiceStub) for act in (world.as_user(organization_id), world.as_nobody()))
    secrets = []
    for place in range(6):
        email = f"colega{place}@{name.lower()}.example"
        request = member_pb.CreateInvitationRequest(email=email, role=options_pb2.ROLE_AGENT, request_id=str(uuid4()))
        secrets.append((await owner.CreateInvitation(request)).secret)
    accepted = await anybody.AcceptInvitation(member_pb.AcceptInvitationRequest(secret=secrets[0], password=PASSWORD))
    token, _ = world.host.signer("identity").person_token(
        kind="user", principal=f"user:{accepted.user_id}", organization_id=organization_id, role=AGENT
    )
    colleague = world.with_token(token).stub(SessionServiceStub)
    begun = await colleague.BeginMfaSetup(session_pb.BeginMfaSetupRequest())
    code = Authenticator.of(begun.secret, world.clock).code()
    await colleague.ConfirmMfaSetup(session_pb.ConfirmMfaSetupRequest(mfa_code=code))
    came = [
        (await anybody.AcceptInvitation(member_pb.AcceptInvitationRequest(secret=secret, password=PASSWORD))).user_id
        for secret in secrets[3:]
    ]
    await owner.DeleteMember(member_pb.DeleteMemberRequest(user_id=came.pop()))
    return secrets[1:3], came


async def promote(world: World, party: Party) -> None:
    """A person known by a linked id alone, whose phone becomes known later."""
    ingest = world.as_service("ingest").stub(ContactServiceStub)
    lid = contact_pb.Alias(kind=contact_pb.ALIAS_KIND_WHATSAPP_LID, value="210000000009001")
    for external_id in ("", "5511900009001"):
        person = contact_pb.Person(
            organization_id=str(party.organization_id),
            source=WHATSAPP,
            external_id=external_id,
            aliases=[lid],
            create_missing=True,
        )
        await ingest.BatchResolveContacts(contact_pb.BatchResolveContactsRequest(people=[person]))


async def merge(world: World, party: Party) -> None:
    """Two contacts become one, two more did for a while, and one conflict was decided."""
    contacts = world.as_user(party.organization_id).stub(ContactServiceStub)
    made = [
        await contacts.CreateContact(
            contact_pb.CreateContactRequest(
                name=f"Caio {place} de {party.name}", source=INSTAGRAM, external_id=f"178400000000090{place}0"
            )
        )
        for place in range(4)
    ]
    pairs = [(made[0], made[1]), (made[2], made[3])]
    merges = [
        await contacts.MergeContacts(
            contact_pb.MergeContactsRequest(
                contact_id=survivor.contact_id, losing_contact_id=loser.contact_id, reason=f"O mesmo na {party.name}"
            )
        )
        for survivor, loser in pairs
    ]
    await contacts.UndoContactMerge(
        contact_pb.UndoContactMergeRequest(contact_merge_id=merges[1].contact_merge_id, request_id=str(uuid4()))
    )
    (conflict, *_) = await world.rows(
        "select identity_conflict_id from identity.identity_conflicts where organization_id = %s"
        " order by identity_conflict_id desc",
        party.organization_id,
    )
    await (
        world.as_service("crm", party.organization_id)
        .stub(ContactServiceStub)
        .DecideIdentityConflict(
            contact_pb.DecideIdentityConflictRequest(
                identity_conflict_id=str(conflict["identity_conflict_id"]),
                decision=contact_pb.CONFLICT_DECISION_REJECT,
                decided_by=options_pb2.Actor(principal=f"user:{uuid4()}", name=f"ana@{party.name.lower()}.example"),
            )
        )
    )
