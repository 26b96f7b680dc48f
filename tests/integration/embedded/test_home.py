"""The home's refusals, and what it keeps."""

import json
import os
import socket
from pathlib import Path

import pytest

from embedded.errors import EmbeddedError
from embedded.home import FREE_MIN_BYTES, Home, require_http_port
from embedded.ports import choose_ports, free_port, keep_passwords
from tests.integration.embedded.fakes import line_of, program


async def test_a_home_in_use_is_refused_with_the_pid_of_its_holder_until_that_is_killed(tmp_path: Path) -> None:
    async with program("hold_home", str(tmp_path)) as holder:
        assert await line_of(holder) == "locked"
        with pytest.raises(EmbeddedError, match=rf"Another prosa up runs on this home \(pid {holder.pid}\)") as refused:
            Home.open(tmp_path)
        assert refused.value.reason == "HOME_IN_USE"
        holder.kill()
        await holder.wait()
        Home.open(tmp_path).close()


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    Home.open(tmp_path / "new" / "home").close()
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
    assert (tmp_path / "new" / "home" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_refused_with_path_and_amounts_and_the_home_stays_free(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError) as refused:
        Home.open(tmp_path, free_bytes=lambda _: FREE_MIN_BYTES - 1)
    assert refused.value.reason == "DISK_FULL"
    assert refused.value.message == (
        f"The disk of {tmp_path} has 511 MiB free, and at least 512 MiB are needed. "
        "Free some space, or choose a home on another disk with --home."
    )
    Home.open(tmp_path, free_bytes=lambda _: FREE_MIN_BYTES).close()


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError) as refused:
        Home.open(tmp_path / "file" / "home")
    assert refused.value.reason == "HOME_UNUSABLE"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_http_port_is_refused_with_the_option_that_helps(address: str) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(EmbeddedError, match=rf"Port {port} is taken .* --http-port") as refused:
            require_http_port(port)
        assert refused.value.reason == "HTTP_PORT_TAKEN"
    require_http_port(port)


def test_ports_are_kept_while_they_are_free_and_chosen_anew_when_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = choose_ports(file, ["one", "two"])
    assert len(set(first.values())) == 2
    assert choose_ports(file, ["one", "two"]) == first
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first["one"]))
        listener.listen()
        second = choose_ports(file, ["one", "two", "three"])
    assert second["one"] != first["one"]
    assert second["two"] == first["two"]
    assert json.loads(file.read_text()) == second
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_kept_port_that_is_to_be_avoided_is_chosen_anew(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = choose_ports(file, ["one"])
    assert choose_ports(file, ["one"], avoid=set(first.values())) != first


def test_a_free_port_lies_below_those_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < lowest for _ in range(20))


def test_passwords_are_drawn_once_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    first = keep_passwords(file, ["one"])
    second = keep_passwords(file, ["one", "two"])
    assert second["one"] == first["one"]
    assert second["two"] != second["one"]
    assert len(second["two"]) == 48
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text("{")
    with pytest.raises(EmbeddedError, match=r"secrets\.json is not JSON"):
        keep_passwords(file, ["one"])
    assert file.read_text() == "{"
