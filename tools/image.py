"""Builds the image without a daemon and tries it as a user without rights: `make image`, as root on Debian.

Where no registry of images can be reached, ``--base-of-debian`` makes what stands below it from Debian's packages.
Nothing is left running; the store stays in ``--store`` for the next build.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are published with it

ROOT = Path(__file__).resolve().parents[1]
NAME = "localhost/prosa:dev"
BASE = "localhost/prosa-base:dev"
USER = "10001"
READY_SECONDS = 120
STOP_SECONDS = 45
PORT = 18_080
PROSA = ["/opt/prosa/bin/python", "/opt/prosa/bin/prosa"]
"""How its process shows itself."""
NEEDED = ("buildah", "mmdebstrap")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Refused(Exception):
    """What stands in the way, in a sentence."""


class Builder:
    """Buildah with a store of its own, in a folder."""

    def __init__(self, store: Path) -> None:
        self._store = store
        store.mkdir(parents=True, exist_ok=True)
        # Only images that are made here come in.
        self._policy = store / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        """A command line of buildah."""
        places = ("--root", str(self._store / "images"), "--runroot", str(self._store / "run"))
        return ["buildah", *places, "--storage-driver", "overlay", *words]

    def run(self, *words: str) -> str:
        """Runs one to its end; answers what it printed. Raises Refused."""
        ended = subprocess.run(self.command(*words), stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode:
            raise Refused(f"buildah {words[0]} failed; it says why above.")
        return ended.stdout.strip()

    def build(self, name: str, file: Path, context: Path, *arguments: str) -> None:
        """Builds one image, in the format that keeps everything a Dockerfile says."""
        self.run(
            *("bud", "--isolation", "chroot", "--format", "docker", "--signature-policy", str(self._policy), "--quiet"),
            *("--tag", name, *arguments, "--file", str(file), str(context)),
        )


def main(arguments: Sequence[str]) -> int:
    """Answers 0, or 1 after a sentence about what failed."""
    parser = argparse.ArgumentParser(prog="tools.image", description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("/var/tmp/prosa-image"), help="where images are kept")  # noqa: S108 large, and kept between builds
    parser.add_argument("--base-of-debian", action="store_true", help="make the base from Debian's packages")
    options = parser.parse_args(arguments)
    try:
        _ready()
        builder = Builder(options.store)
        chosen: tuple[str, ...] = ()
        if options.base_of_debian:
            _make_base(builder, options.store)
            chosen = ("--pull=never", "--build-arg", f"PYTHON={BASE}")
        builder.build(NAME, ROOT / "deploy" / "Dockerfile", ROOT, *chosen)
        _try(builder)
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    return 0


def _ready() -> None:
    if os.geteuid() != 0:
        raise Refused("Building without a daemon needs root here.")
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        raise Refused(f"{' and '.join(missing)} missing: apt-get install --no-install-recommends {' '.join(NEEDED)}")
    if not (ROOT / "gateway" / "pages" / "dashboard" / "index.html").is_file():
        raise Refused("The dashboard is not built yet: make install")


def _make_base(builder: Builder, store: Path) -> None:
    """Debian with Python, as the usual base has it: `python` on the PATH, and the certificates of this machine."""
    if builder.run("images", "--quiet", "--filter", f"reference={BASE}"):
        return
    packages = "ca-certificates,python3,python3-venv,python3-pip"
    archive = store / "base.tar"
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            f"--include={packages}",
            "bookworm",
            str(archive),
        ],
        check=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.move(archive, context / "base.tar")
        shutil.copy(CERTIFICATES, context / "certificates.crt")
        file = context / "Dockerfile"
        file.write_text(
            "FROM scratch\nADD base.tar /\nCOPY certificates.crt /etc/ssl/certs/ca-certificates.crt\n"
            "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt\n"
            "RUN ln -s /usr/bin/python3 /usr/local/bin/python\n",
            encoding="utf-8",
        )
        builder.build(BASE, file, context)


def _try(builder: Builder) -> None:
    """Brings the demo up in the image as its user, asks it, and sees that it wrote nowhere but where it may."""
    container = builder.run("from", "--pull-never", NAME)
    try:
        said = builder.run(
            "run", "--isolation", "chroot", container, "--", "sh", "-c", "id -u; command -v gcc || echo none"
        )
        if said.split() != [USER, "none"]:
            raise Refused(f"It runs as another user, or with a compiler: {said}")
        _demo(builder, container)
        root = Path(builder.run("mount", container))
        written = [path for path in _owned(root) if not path.startswith(("/var/lib/prosa", "/tmp"))]  # noqa: S108 in the image
        builder.run("umount", container)
        if written:
            raise Refused(f"It wrote beside its own folder: {', '.join(written[:5])}")
        sys.stdout.write("The demo ran as a user without rights, and wrote into its own folder alone.\n")
    finally:
        builder.run("rm", container)


def _demo(builder: Builder, container: str) -> None:
    words = ("run", "--isolation", "chroot", container, "--", "prosa", "up", "--demo", "--json", "--port", str(PORT))
    with subprocess.Popen(
        builder.command(*words), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            signal.signal(signal.SIGALRM, lambda *_: process.kill())
            signal.alarm(READY_SECONDS)
            line = process.stdout.readline()
            if not line:
                raise Refused("The demo ended before it was ready.")
            url = json.loads(line)["url"]
            for path, wanted in (("/readyz", b""), ("/", b"<html"), ("/api/openapi.json", b"openapi")):
                # Raises for another status than 200.
                with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:  # noqa: S310 loopback
                    if wanted not in answer.read():
                        raise Refused(f"{path} does not answer what it should.")
            signal.alarm(0)
        finally:
            # Not buildah, which would kill what it runs.
            for child in psutil.Process(process.pid).children(recursive=True):
                if child.cmdline()[:2] == PROSA:
                    child.terminate()
                    break
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise Refused(f"The demo did not stop within {STOP_SECONDS} s.") from None
    if code:
        raise Refused(f"The demo stopped with {code}.")


def _owned(root: Path) -> list[str]:
    """What belongs to the image's user, and so was written by it."""
    found = subprocess.run(
        ["find", str(root), "-xdev", "-user", USER, "-printf", "/%P\\n"], stdout=subprocess.PIPE, text=True, check=True
    )
    return found.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
