"""PostgreSQL's programs and data when root's installation lies where PostgreSQL's user may not go."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from embedded import programs
from embedded.child import Account
from embedded.errors import EmbeddedError
from embedded.postgres import EmbeddedPostgres
from embedded.programs import INSTALLATION, LIBRARIES, PACKAGE, binaries, binaries_for, can_enter
from tests.integration.embedded.fakes import descendants, line_of, program

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="everyone but root runs PostgreSQL as themselves")


@pytest.fixture
def nobody() -> Account:
    """A user without rights, and without the capability to walk through closed folders."""
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid, "nobody", walks=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def closed_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PostgreSQL as `make install` leaves it in a clone that only root may enter; answers what to add to sys.path."""
    site = tmp_path / "clone"
    site.mkdir(mode=0o700)
    installation = binaries().parent
    (site / PACKAGE).mkdir()
    (site / PACKAGE / "__init__.py").touch()
    for name in programs.COPIED:
        target = site / PACKAGE / INSTALLATION / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (installation / name).is_dir():
            shutil.copytree(installation / name, target)
        else:
            shutil.copy(installation / name, target)
    shutil.copytree(installation.parent.with_name(LIBRARIES), site / LIBRARIES)
    monkeypatch.setattr(programs, "binaries", lambda: site / PACKAGE / INSTALLATION / "bin")
    binaries_for.cache_clear()
    return site


def running(pid: int) -> psutil.Process | None:
    """The process, if it is PostgreSQL's first; what it starts comes and goes meanwhile, and is called otherwise."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cmdline()[:1] and process.cmdline()[0].endswith("/postgres"):
            return process
    return None


@only_root
@pytest.mark.case("O1")
async def test_as_root_the_servers_start_from_a_clone_and_a_home_that_only_root_may_enter(
    closed_installation: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for start in (1, 2):
        async with program("run_servers", str(home), path=closed_installation) as process:
            assert await line_of(process) == f"ready {start}"
            (postgres,) = [server for server in map(running, descendants(process.pid)) if server is not None]
            assert postgres.uids().real != 0
            assert not postgres.exe().startswith(str(tmp_path))
            assert process.stdin is not None
            process.stdin.close()
            assert await process.wait() == 0
    assert home.joinpath("postgres", "data", "PG_VERSION").exists()


@only_root
@pytest.mark.case("O1")
def test_the_copy_is_made_once_whole_and_readable_whatever_the_umask(
    closed_installation: Path, open_folder: Path, nobody: Account
) -> None:
    place = open_folder / "programs"
    before = os.umask(0o077)
    try:
        made = binaries_for(nobody, (place,))
    finally:
        os.umask(before)
    answer = subprocess.run(
        [made / "initdb", "-D", place / "unused", "--no-clean"], user="nobody", group=nobody.gid, extra_groups=[],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # It got so far that it asked for a directory which it may not make.
    assert "could not create directory" in answer.stderr
    first = (made / "postgres").stat().st_ino
    # What a copy that was killed left is not taken for one, and is gone when the next is made.
    binaries_for.cache_clear()
    (place / "draft.killed").mkdir()
    assert binaries_for(nobody, (place,)) == made
    assert (made / "postgres").stat().st_ino == first
    shutil.rmtree(made.parents[2])
    binaries_for.cache_clear()
    assert binaries_for(nobody, (place,)) == made
    assert sorted(path.name for path in place.iterdir()) == sorted(["lock", made.parents[2].name])


@only_root
@pytest.mark.case("O1")
def test_a_place_that_others_could_change_is_passed_over(
    closed_installation: Path, open_folder: Path, nobody: Account
) -> None:
    writable, foreign, linked = (open_folder / name for name in ("writable", "foreign", "linked"))
    writable.mkdir()
    writable.chmod(0o777)
    foreign.mkdir()
    os.chown(foreign, nobody.uid, nobody.gid)
    linked.symlink_to(foreign)
    with pytest.raises(EmbeddedError) as refused:
        binaries_for(nobody, (writable, foreign, foreign / "below", linked))
    assert refused.value.reason == "PROGRAMS_UNREACHABLE"
    assert refused.value.message.count("could be changed by other users") == 4
    assert "Install Prosa where every user may read it" in refused.value.message
    assert list(foreign.iterdir()) == []
    assert "good" in str(binaries_for(nobody, (writable, open_folder / "good")))


@only_root
@pytest.mark.case("O1")
def test_what_the_user_can_reach_is_used_where_it_lies_and_without_more_rights(
    open_folder: Path, tmp_path: Path, nobody: Account
) -> None:
    assert can_enter(open_folder, nobody)
    assert not can_enter(tmp_path, nobody)
    assert can_enter(tmp_path, Account(nobody.uid, nobody.gid))
    reachable = EmbeddedPostgres(open_folder / "postgres", 1, "password").child().account
    closed = EmbeddedPostgres(tmp_path / "postgres", 1, "password").child().account
    assert reachable is not None
    assert closed is not None
    assert (reachable.walks, closed.walks) == (False, True)


@only_root
@pytest.mark.case("O1")
def test_a_home_that_cannot_be_reached_at_all_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.postgres.can_enter", lambda *_: False)
    with pytest.raises(EmbeddedError, match="Choose a home whose folders every user may walk through") as refused:
        EmbeddedPostgres(tmp_path / "postgres", 1, "password").child()
    assert refused.value.reason == "HOME_UNREACHABLE"
