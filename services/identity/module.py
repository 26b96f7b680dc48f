"""Everything identity needs, serves and runs."""

from __future__ import annotations

import os

from chassis.process import Process
from prosa.identity.v1 import (
    access_service_pb2,
    audit_service_pb2,
    contact_service_pb2,
    member_service_pb2,
    session_service_pb2,
)
from prosa.identity.v1.access_service_pb2_grpc import add_AccessServiceServicer_to_server
from prosa.identity.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from prosa.identity.v1.contact_service_pb2_grpc import add_ContactServiceServicer_to_server
from prosa.identity.v1.member_service_pb2_grpc import add_MemberServiceServicer_to_server
from prosa.identity.v1.session_service_pb2_grpc import add_SessionServiceServicer_to_server
from prosa.ingest.v1.events_pb2 import RolloutChanged
from prosa.outreach.v1.events_pb2 import KillSwitchChanged
from services.identity.access.member_servicer import MemberServicer
from services.identity.access.passwords import Passwords
from services.identity.access.second_factor import SecondFactor
from services.identity.access.servicer import AccessServicer
from services.identity.access.session_servicer import SessionServicer
from services.identity.access.sessions import Sessions
from services.identity.access.sign_in import SignIn
from services.identity.audit.audit import Audit
from services.identity.audit.consumers import AuditConsumer
from services.identity.audit.servicer import AuditServicer
from services.identity.contacts.junk import Blocked
from services.identity.contacts.servicer import ContactServicer
from services.identity.settings import IdentitySettings


async def start(process: Process, passwords: Passwords | None = None) -> None:
    """Serves contacts, access, sessions and members, and relays what they announce.

    ``passwords``: what hashes and checks them; without one, at the cost that argon2's authors recommend.
    """
    db, outbox, idempotency = process.database(), process.outbox(), process.idempotency()
    clock, ids = process.clock, process.ids
    settings = IdentitySettings.within(process.settings)
    audit = Audit(ids)
    contacts = ContactServicer(
        db, outbox, idempotency, clock, ids, Blocked(settings.blocked_identifiers.split(",")), audit
    )
    passwords = passwords or Passwords()
    vault = process.vault()
    sign_in, second_factor = SignIn(db, clock, passwords), SecondFactor(db, clock, vault, os.urandom)
    sessions = Sessions(db, outbox, clock, ids, process.signer, os.urandom, audit)
    access = AccessServicer(
        db,
        outbox,
        idempotency,
        clock,
        ids,
        process.signer,
        vault,
        passwords,
        sign_in,
        second_factor,
        os.urandom,
        audit,
    )
    process.serve(
        add_ContactServiceServicer_to_server,
        contacts,
        contact_service_pb2.DESCRIPTOR.services_by_name["ContactService"].full_name,
    )
    process.serve(
        add_AccessServiceServicer_to_server,
        access,
        access_service_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name,
    )
    process.serve(
        add_SessionServiceServicer_to_server,
        SessionServicer(db, clock, sessions, sign_in, second_factor, audit),
        session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    )
    process.serve(
        add_MemberServiceServicer_to_server,
        MemberServicer(
            db,
            outbox,
            idempotency,
            clock,
            ids,
            vault,
            passwords,
            sign_in,
            second_factor,
            sessions,
            os.urandom,
            audit,
        ),
        member_service_pb2.DESCRIPTOR.services_by_name["MemberService"].full_name,
    )
    process.serve(
        add_AuditServiceServicer_to_server,
        AuditServicer(db),
        audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
    )
    audited, consumer = AuditConsumer(ids), process.consumer("audit")
    consumer.on(KillSwitchChanged, audited.on_kill_switch_changed)
    consumer.on(RolloutChanged, audited.on_rollout_changed)
    process.maintain()
