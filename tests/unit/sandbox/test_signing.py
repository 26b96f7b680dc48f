"""The signature covers timestamp, a dot and the raw body."""

from sandbox.chatwoot.signing import signature, signed_request

SECRET = "3kQ9wZr5uVb7XdFgJm2nPtYa"
BODY = '{"event":"message_created","id":1,"content":"Olá \\u003cb\\u003e"}'.encode()
SIGNED = "sha256=ea4c28195ce858495805069d61882d68b7d72310ed5dfb2b59d293a4f8cfc100"


def test_the_published_vector_comes_out() -> None:
    assert signature(SECRET, 1790000000, BODY) == SIGNED


def test_a_request_carries_signature_timestamp_and_delivery() -> None:
    headers = signed_request(BODY, SECRET, "5e0c1e5c-2d0e-4b7e-9b51-0d0d3f6a2a11", 1790000000)
    assert headers == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "X-Chatwoot-Delivery": "5e0c1e5c-2d0e-4b7e-9b51-0d0d3f6a2a11",
        "X-Chatwoot-Timestamp": "1790000000",
        "X-Chatwoot-Signature": SIGNED,
    }


def test_without_a_secret_nothing_is_signed() -> None:
    headers = signed_request(BODY, None, "d", 1790000000)
    assert not {"X-Chatwoot-Signature", "X-Chatwoot-Timestamp"} & headers.keys()
