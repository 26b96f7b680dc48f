"""The gateway and ingest share no code: what both say of a provider is the same."""

from __future__ import annotations

from gateway.senders import SENDERS
from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.providers import PROVIDERS


def test_every_provider_of_the_contract_is_listed_under_its_name_and_number() -> None:
    listed = {f"PROVIDER_{name}": provider.number for name, provider in PROVIDERS.items()}
    assert listed == {name: number for name, number in pb.Provider.items() if number}
    assert all(provider.name == name for name, provider in PROVIDERS.items())


def test_the_gateway_takes_the_webhooks_of_every_provider_and_reads_as_much_as_ingest_takes() -> None:
    taken = {name.upper(): (sender.provider, sender.body_bytes_max) for name, sender in SENDERS.items()}
    assert taken == {name: (provider.number, provider.body_bytes_max) for name, provider in PROVIDERS.items()}
