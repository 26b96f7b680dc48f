"""Lines of migrations. Every schema has two: the chassis', which is one for all, and after it the service's own.

A service's line once held the chassis' tables too, as copied files. Those steps are still part of it, without doing
anything, so that a database of any release is known; and they tell where such a database stands on the chassis' line.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

CHASSIS = "chassis"
"""What the versions of the chassis' line begin with, as a service's begin with its name."""

MOVED: Mapping[str, Mapping[str, str]] = {
    service: {f"{service}_{number:04d}": f"{CHASSIS}_{place:04d}" for place, number in enumerate(numbers, 2)}
    for service, numbers in {
        "identity": (2, 4, 8, 9),
        "ingest": (3, 6, 10, 11),
        "conversation": (2, 3, 7),
        "outreach": (2, 3, 4),
        "crm": (2, 3, 4),
    }.items()
}
"""By service, the steps that brought what a version of the chassis' line brings now. The first brought the first."""

_ROOT = Path(__file__).resolve().parent.parent


def folder(service: str, *, chassis: bool = False) -> Path:
    """Where the files of a line lie."""
    return _ROOT / "chassis" / "tables" if chassis else _ROOT / "services" / service / "migrations"


@cache
def known_versions(service: str) -> tuple[str, ...]:
    """Every version of the service's own line that this release knows, oldest first."""
    return tuple(sorted(_versions(service, folder(service)) | MOVED.get(service, {}).keys()))


@cache
def chassis_versions() -> tuple[str, ...]:
    """Every version of the chassis' line that this release knows, oldest first."""
    return tuple(sorted(_versions(CHASSIS, folder(CHASSIS, chassis=True))))


def silent_steps(service: str) -> list[tuple[str, str]]:
    """The steps of a service's own line that have no file, each with the one before it."""
    versions = known_versions(service)
    files = _versions(service, folder(service))
    return [(version, versions[place - 1]) for place, version in enumerate(versions) if version not in files]


def chassis_version_at(service: str, version: str) -> str:
    """Where a schema stood on the chassis' line when its service's own stood there, before there were two lines."""
    reached = [place for step, place in MOVED[service].items() if step <= version]
    return max(reached, default=f"{CHASSIS}_0001")


def _versions(name: str, files: Path) -> set[str]:
    return {f"{name}_{file.name[:4]}" for file in files.glob("[0-9]*_*.py")}
