"""What only people may do: every key is told so alike, with the role it takes, and the document says it too."""

from __future__ import annotations

import pytest

from tests.harness import Harness

WRITES = (
    ("/api/v1/terms:accept", "owner"),
    ("/api/v1/kill-switch:engage", "agent"),
    ("/api/v1/kill-switch:lift", "admin"),
    ("/api/v1/suppressions/00000000-0000-4000-8000-000000000001:lift", "agent"),
    ("/api/v1/session:switchOrganization", "viewer"),
    ("/api/v1/api-keys", "admin"),
)
"""By path, the least role that may; the key has every scope there is."""


@pytest.mark.parametrize(("path", "role"), WRITES)
async def test_a_key_is_told_that_only_people_may_and_with_which_role(harness: Harness, path: str, role: str) -> None:
    status, refused = await harness.send(path, {})
    assert (status, refused["reason"], refused["metadata"]) == (403, "PEOPLE_ONLY", {"role": role})
    assert f"the role {role} or a higher one" in refused["detail"]


async def test_reading_what_is_for_people_alone_is_refused_alike(harness: Harness) -> None:
    status, refused = await harness.get("/api/v1/api-keys")
    assert (status, refused["reason"], refused["metadata"]) == (403, "PEOPLE_ONLY", {"role": "admin"})


async def test_the_document_names_for_each_operation_the_refusal_that_a_key_can_get(harness: Harness) -> None:
    _, document = await harness.get("/api/openapi.json")

    def refusals(path: str, method: str) -> str:
        return str(document["paths"][path][method]["responses"]["403"]["description"])

    for path, method in (("/api/v1/api-keys", "get"), ("/api/v1/api-keys", "post"), ("/api/v1/terms:accept", "post")):
        assert "PEOPLE_ONLY" in refusals(path, method)
        assert "SCOPE_MISSING" not in refusals(path, method)
    assert "SCOPE_MISSING" in refusals("/api/v1/contacts", "get")
    assert "PEOPLE_ONLY" not in refusals("/api/v1/contacts", "get")
