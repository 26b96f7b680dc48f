"""Builds the dashboard with the Node of .venv, and only what changed: `python -m tools.dashboard`.

The types of its calls come from the OpenAPI document, so a contract that changed is met by the compiler, not by a user.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "dashboard"
BUILT = ROOT / "gateway" / "pages" / "dashboard"
MODULES = SOURCE / "node_modules"
DOCUMENT, TYPES = SOURCE / ".openapi.json", SOURCE / "src" / "gen" / "api.ts"
# What is made lies outside of the sources' digest.
MADE = ("node_modules", "gen", ".openapi.json")
MARK = ".digest"
COMMANDS = ("build", "lint", "test")


class Broken(Exception):
    """A step failed; its own output says why."""


def main(words: list[str]) -> int:
    """Answers 0, or 1 after a sentence about what failed."""
    command = words[0] if words else "build"
    if command not in COMMANDS:
        sys.stderr.write(f"Say one of: {', '.join(COMMANDS)}.\n")
        return 2
    try:
        install_packages()
        build()
        if command != "build":
            run("npm", "run", "--silent", command)
    except Broken as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    return 0


def install_packages() -> None:
    """Brings node_modules to what the lock names; does nothing where it is so already."""
    wanted = digest([SOURCE / "package-lock.json", SOURCE / ".npmrc"])
    mark = MODULES / MARK
    if _read(mark) == wanted:
        return
    sys.stdout.write("Fetching the dashboard's packages, checked against their hashes …\n")
    sys.stdout.flush()
    try:
        run("npm", "ci", "--loglevel=error", quiet=True)
    except Broken as broken:
        raise Broken(
            f"{broken}\nThe dashboard's packages could not be fetched: npm needs a registry that it can reach. "
            "Everything else is installed; `make install DASHBOARD=no` leaves the dashboard out."
        ) from None
    mark.write_text(wanted, encoding="utf-8")


def build() -> None:
    """Makes types and files anew where anything they come from has changed."""
    wanted = digest(inputs())
    if _read(BUILT / MARK) == wanted and TYPES.is_file():
        return
    sys.stdout.write("Building the dashboard …\n")
    sys.stdout.flush()
    DOCUMENT.write_bytes(_document())
    TYPES.parent.mkdir(exist_ok=True)
    run("npm", "run", "--silent", "types", quiet=True)
    # Built beside and put in place whole: a gateway that starts meanwhile finds the old files or the new ones.
    with tempfile.TemporaryDirectory(dir=BUILT.parent, prefix=".dashboard-") as beside:
        out = Path(beside) / "dashboard"
        run("npm", "run", "--silent", "build", "--", "--outDir", str(out), "--logLevel", "warn", quiet=True)
        (out / MARK).write_text(wanted, encoding="utf-8")
        if BUILT.is_dir():
            shutil.move(BUILT, Path(beside) / "before")
        shutil.move(out, BUILT)


def inputs() -> list[Path]:
    """All that the built files depend on."""
    own = [path for path in SOURCE.rglob("*") if path.is_file() and not set(path.relative_to(SOURCE).parts) & set(MADE)]
    document = [*(ROOT / "gateway" / "openapi").glob("*.py"), *(ROOT / "gateway" / "transcoding").glob("*.py")]
    return [*own, *document, ROOT / "gen" / "prosa" / "descriptors.binpb"]


def digest(paths: Iterable[Path]) -> str:
    """A hash over names and contents."""
    found = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        found.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that npm runs with: the Node of this environment first, and a cache where there is no home."""
    made = {**variables, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"}
    home = variables.get("HOME", "")
    if not home or not os.access(home, os.W_OK):
        made["npm_config_cache"] = str(Path(sys.prefix) / "npm-cache")
        made["HOME"] = sys.prefix
    return made


def run(*words: str, quiet: bool = False) -> None:
    """Runs a program of .venv in the dashboard's folder; what a quiet one said is told if it fails. Raises Broken."""
    program = Path(sys.executable).parent / words[0]
    try:
        ended = subprocess.run(
            [program, *words[1:]], cwd=SOURCE, env=environment(), check=False, capture_output=quiet, text=True
        )
    except FileNotFoundError:
        raise Broken(f"{program} is missing: run `make install`.") from None
    if ended.returncode != 0:
        said = f"{ended.stdout}{ended.stderr}" if quiet else ""
        raise Broken(f"{said}dashboard: `{' '.join(words)}` failed.")


def _document() -> bytes:
    import orjson

    from chassis.transcoding.plans import Plans
    from gateway.openapi import document
    from gateway.openapi.operations import operations
    from gateway.transcoding.bindings import bindings

    return orjson.dumps(document.build(operations(bindings(Plans()))))


def _read(mark: Path) -> str:
    return mark.read_text(encoding="utf-8") if mark.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
