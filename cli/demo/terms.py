"""What the demo lets itself do: send at any hour, by itself too."""

from __future__ import annotations

from cli.calls import CALL_SECONDS, Calls
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub


async def allow_any_hour(calls: Calls, organization_id: str) -> None:
    """At any hour, so that it is seen whenever the demo is; the terms are the operator's to accept here."""
    stub, metadata = calls.stub(SendServiceStub, "outreach"), calls.organization(organization_id)
    terms = await stub.GetTerms(send_pb.GetTermsRequest(), metadata=metadata, timeout=CALL_SECONDS)
    await stub.AcceptTerms(
        send_pb.AcceptTermsRequest(terms_version=terms.terms_version), metadata=metadata, timeout=CALL_SECONDS
    )
    await stub.UpdateSendPolicy(
        send_pb.UpdateSendPolicyRequest(quiet_hours=send_pb.QuietHoursSet()), metadata=metadata, timeout=CALL_SECONDS
    )
