"""The gateway and ingest share no code: what both say of a provider is the same."""

from __future__ import annotations

from gateway.limits import CHATWOOT_BODY_BYTES_MAX, EVOLUTION_BODY_BYTES_MAX
from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.providers import PROVIDERS


def test_every_provider_of_the_contract_is_listed_under_its_name_and_number() -> None:
    listed = {f"PROVIDER_{name}": provider.number for name, provider in PROVIDERS.items()}
    assert listed == {name: number for name, number in pb.Provider.items() if number}
    assert all(provider.name == name for name, provider in PROVIDERS.items())


def test_the_gateway_reads_as_much_of_a_body_as_ingest_takes() -> None:
    assert {name: provider.body_bytes_max for name, provider in PROVIDERS.items()} == {
        "CHATWOOT": CHATWOOT_BODY_BYTES_MAX,
        "EVOLUTION": EVOLUTION_BODY_BYTES_MAX,
    }
