"""What `make install` shows while it works."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tools import install

PIP = [f"Collecting package-{number}==1.{number}\n" for number in range(1, 46)]
PLACING = ["Installing collected packages: package-1, package-2\n", "Successfully installed\n"]


@pytest.mark.case("O14")
@pytest.mark.parametrize(("live", "shown"), [(True, 45), (False, 2)])
def test_it_shows_how_far_it_is(live: bool, shown: int) -> None:
    out = io.StringIO()
    assert install.follow([*PIP, *PLACING], 45, out, live=live) == [*PIP, *PLACING]
    text = out.getvalue()
    assert text.startswith("Fetching about 45 packages")
    assert text.count("/45 package-") == shown
    assert "40/45 package-40" in text
    assert text.endswith("Putting them in place, which takes as long again …\n")


@pytest.mark.case("O14")
def test_the_packages_of_a_lock_are_counted() -> None:
    lock = ["# a==b", "a==1 \\", "    --hash=sha256:00==", "b==2 ; python_version < '3.12' \\", "    # via a"]
    assert install.count_packages(lock) == 2


@pytest.mark.case("O14")
def test_what_pip_says_is_seen_where_it_fails(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("./no-such-package --hash=sha256:00\n")
    program = Path(install.__file__)
    ended = subprocess.run([sys.executable, program, lock], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "no-such-package" in ended.stderr
