"""What an address names, and which are public."""

from __future__ import annotations

import pytest

from chassis.addresses import AddressInvalid, AllowedHosts, public, read_url
from tests.spellings import EMBEDDED, ODD, PLAIN, PRIVATE, PUBLIC

pytestmark = pytest.mark.case("S3")


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("address", [*PRIVATE, *(address.strip("[]") for address in EMBEDDED)])
def test_addresses_of_this_machine_and_its_networks_are_not(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("host", ODD)
def test_what_could_be_read_in_more_than_one_way_is_no_address(host: str) -> None:
    with pytest.raises(AddressInvalid):
        read_url(f"http://{host}:8080/api")


@pytest.mark.parametrize(
    "text",
    [
        "", "chat.example.com", "ftp://chat.example.com", "file:///etc/passwd", "http://", "http:///api",
        "http:127.0.0.1", "//127.0.0.1", "http://:80", "http://chat.example.com:0", "http://chat.example.com:65536",
        "http://chat.example.com:８０", "http://chat.example.com:+80", "http://-a.example.com", "http://[::1",
        f"http://{'a' * 64}.example.com", f"http://{'a.' * 127}example.com", f"http://a.example.com/{'a' * 2048}",
        "gopher://127.0.0.1", "http://a..example.com", "http://.example.com", "http://exa mple.com",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_host_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        read_url(text)


@pytest.mark.parametrize(
    ("text", "url", "host", "port"),
    [
        ("https://Chat.Example.com", "https://chat.example.com", "chat.example.com", 443),
        ("HTTPS://chat.example.com:443/a?b=c", "https://chat.example.com/a?b=c", "chat.example.com", 443),
        ("http://10.0.0.1:3000/chat", "http://10.0.0.1:3000/chat", "10.0.0.1", 3000),
        ("http://[2606:2800:0220:0001::1]:80", "http://[2606:2800:220:1::1]", "2606:2800:220:1::1", 80),
        ("https://xn--conversa-0za.com.br", "https://xn--conversa-0za.com.br", "xn--conversa-0za.com.br", 443),
        ("http://chat_web:3000", "http://chat_web:3000", "chat_web", 3000),
    ],
)
def test_a_url_is_read_into_its_one_spelling(text: str, url: str, host: str, port: int) -> None:
    target = read_url(text)
    assert (target.url, target.host, target.port) == (url, host, port)
    assert read_url(target.url) == target


@pytest.mark.parametrize("host", PLAIN)
def test_a_plain_private_host_is_read_and_left_to_the_judge(host: str) -> None:
    assert read_url(f"http://{host}:8080").port == 8080


def test_allowed_hosts_are_read_with_and_without_port() -> None:
    allowed = AllowedHosts(" Chat.Local, [::1] ,,127.0.0.1:3000,fd00::7,[fd00::8]:80")
    assert all(allowed.host(host) for host in ("chat.local", "::1", "fd00::7"))
    assert not allowed.host("127.0.0.1")
    assert allowed.place("127.0.0.1", 3000)
    assert allowed.place("fd00::8", 80)
    assert not allowed.place("127.0.0.1", 3001)
    assert not allowed.place("chat.local", 80)
    assert not AllowedHosts("").host("")


@pytest.mark.parametrize("entry", ["http://chat.local", "chat.local/a", "１２７.0.0.1", "10.0.0.0/8", "a b", "a:0"])
def test_an_entry_that_is_no_host_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="PROSA_ALLOWED_HOSTS"):
        AllowedHosts(f"chat.example.com,{entry}")
