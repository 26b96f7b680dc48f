"""The supervisor with children that do nothing."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from embedded.child import LAUNCHER, ChildSpec, write_record
from embedded.errors import EmbeddedError
from embedded.launch import EXIT_PARENT_GONE
from embedded.logs import LogFiles
from embedded.supervisor import Supervisor
from tests.integration.embedded.fakes import (
    WAIT_SECONDS,
    alive,
    descendants,
    fake_child,
    line_of,
    program,
    status,
    until,
)


@asynccontextmanager
async def supervised(directory: Path, *specs: ChildSpec) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(directory, specs)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop()


def pid_of(supervisor: Supervisor, name: str) -> int:
    pid = supervisor.pid(name)
    assert pid is not None
    return pid


async def test_children_start_after_and_stop_before_those_they_need(tmp_path: Path) -> None:
    app = fake_child(tmp_path, "app", needs=("server",))
    async with supervised(tmp_path, app, fake_child(tmp_path, "server")) as supervisor:
        assert (tmp_path / "started").read_text().split() == ["server", "app"]
        assert [(child.name, child.state) for child in supervisor.states()] == [("app", "ready"), ("server", "ready")]
    assert (tmp_path / "ended").read_text().split() == ["app", "server"]


async def test_stopping_leaves_no_process_even_of_stubborn_children_and_their_own(tmp_path: Path) -> None:
    spec = fake_child(tmp_path, "app", "stubborn", "parent", stop_timeout_seconds=0.2)
    async with supervised(tmp_path, spec) as supervisor:
        pids = [pid_of(supervisor, "app"), int((tmp_path / "app.grandchild").read_text())]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


async def test_a_frozen_child_is_stopped_gracefully(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app")) as supervisor:
        supervisor.freeze("app")
    assert (tmp_path / "ended").read_text().split() == ["app"]


async def test_a_killed_child_is_restarted_and_counted(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app")) as supervisor:
        before = pid_of(supervisor, "app")
        supervisor.kill("app")
        await supervisor.wait_restarted("app", 0)
        assert pid_of(supervisor, "app") != before
        assert supervisor.restart_count("app") == 1
        assert (tmp_path / "started").read_text().split() == ["app", "app"]


async def test_freezing_stops_every_process_of_a_child_and_thawing_lets_them_run(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app", "parent")) as supervisor:
        pids = [pid_of(supervisor, "app"), int((tmp_path / "app.grandchild").read_text())]
        supervisor.freeze("app")
        await until(lambda: [status(pid) for pid in pids] == ["stopped", "stopped"])
        supervisor.thaw("app")
        await until(lambda: "stopped" not in [status(pid) for pid in pids])


async def test_a_held_child_stays_down_until_it_is_released(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app")) as supervisor:
        before = pid_of(supervisor, "app")
        await supervisor.hold("app")
        assert not alive(before)
        assert supervisor.pid("app") is None
        assert supervisor.states()[0].state == "held"
        assert not (tmp_path / "ended").exists()  # killed, not asked
        await supervisor.release("app")
        assert alive(pid_of(supervisor, "app"))
        assert supervisor.states()[0].state == "ready"


async def test_holding_interrupts_the_wait_before_a_restart(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app")) as supervisor:
        supervisor.kill("app")
        await until(lambda: supervisor.states()[0].state == "restarting")
        await supervisor.hold("app")
        assert supervisor.restart_count("app") == 0
        assert (tmp_path / "started").read_text().split() == ["app"]


async def test_a_child_that_cannot_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, [fake_child(tmp_path, "app", "fails")])
    with pytest.raises(EmbeddedError) as refused:
        await supervisor.start()
    await supervisor.stop()
    assert refused.value.reason == "CHILD_NOT_READY"
    assert "app ended with code 3" in refused.value.message
    assert "app cannot work like this" in refused.value.message


async def test_a_child_that_is_never_ready_is_reported_after_its_timeout(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    spec = ChildSpec(name="app", command=("/bin/sleep", "60"), ready=never, ready_timeout_seconds=0.2)
    supervisor = Supervisor(tmp_path, [spec])
    with pytest.raises(EmbeddedError, match=r"app is not ready after 0\.2 s"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_refusal_while_preparing_is_not_tried_again(tmp_path: Path) -> None:
    attempts = []

    async def prepare() -> None:
        attempts.append(1)
        raise EmbeddedError("WRONG_VERSION", "This cannot work.")

    supervisor = Supervisor(tmp_path, [ChildSpec(name="app", command=("/bin/true",), prepare=prepare)])
    with pytest.raises(EmbeddedError) as refused:
        await supervisor.start()
    await supervisor.stop()
    assert refused.value.reason == "WRONG_VERSION"
    assert len(attempts) == 1


async def test_children_have_sessions_of_their_own_so_that_ctrl_c_reaches_the_supervisor_alone(tmp_path: Path) -> None:
    async with supervised(tmp_path, fake_child(tmp_path, "app")) as supervisor:
        pid = pid_of(supervisor, "app")
        assert os.getsid(pid) == pid
        assert os.getsid(pid) != os.getsid(0)


async def test_a_supervisor_killed_with_minus_nine_takes_its_children_with_it(tmp_path: Path) -> None:
    async with program("run_fakes", str(tmp_path)) as process:
        assert await line_of(process) == "ready"
        pids = [int((tmp_path / f"{name}.ready").read_text()) for name in ("one", "two")]
        process.kill()
        await until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_supervisor_and_all_it_started(tmp_path: Path, number: signal.Signals) -> None:
    async with program("run_fakes", str(tmp_path), "parent") as process:
        assert await line_of(process) == "ready"
        pids = descendants(process.pid)
        assert len(pids) == 3
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
        assert not any(alive(pid) for pid in pids)


async def test_a_child_whose_supervisor_died_before_it_could_ask_for_that_signal_does_not_start() -> None:
    order = {"uid": None, "gid": None, "death_signal": signal.SIGKILL, "parent": os.getppid()}
    process = await asyncio.create_subprocess_exec(sys.executable, str(LAUNCHER), json.dumps(order), "/bin/true")
    assert await process.wait() == EXIT_PARENT_GONE


async def test_a_second_signal_kills_what_does_not_want_to_go(tmp_path: Path) -> None:
    async with program("run_fakes", str(tmp_path), "stubborn") as process:
        assert await line_of(process) == "ready"
        pids = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        await until(lambda: len(descendants(process.pid)) == 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
        assert not any(alive(pid) for pid in pids)


async def test_what_a_former_run_left_is_killed_but_a_stranger_with_its_old_pid_is_not(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    async with program("idle") as leftover, program("idle") as stranger:
        write_record(tmp_path / "run" / "one.json", leftover.pid)
        write_record(tmp_path / "run" / "two.json", stranger.pid)
        record = json.loads((tmp_path / "run" / "two.json").read_text())
        (tmp_path / "run" / "two.json").write_text(json.dumps({**record, "start_time": record["start_time"] - 60}))
        async with supervised(tmp_path, fake_child(tmp_path, "one"), fake_child(tmp_path, "two")):
            assert await asyncio.wait_for(leftover.wait(), WAIT_SECONDS) == -signal.SIGKILL
            assert stranger.returncode is None


def test_output_over_the_limit_moves_aside_while_the_child_keeps_writing(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, size_max_bytes=10)
    with logs.append("app") as output:
        os.write(output.fileno(), b"a long first line\n")
        logs.bound(["app"])
        os.write(output.fileno(), b"second\n")
    assert (tmp_path / "app.log.1").read_bytes() == b"a long first line\n"
    assert (tmp_path / "app.log").read_bytes() == b"second\n"
    assert logs.tail("app", 5) == "second"
