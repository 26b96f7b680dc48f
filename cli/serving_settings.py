"""The settings of `prosa serve`, with all that is missing for its targets told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from chassis.config import ModuleSettings, Settings
from chassis.crypto import KEY_FILE
from chassis.system import SEALING, SERVICES, service_of
from cli.failures import REFUSED, Refused, invalid_settings

PAGE = "docs/settings.md"


def read_settings(
    targets: Iterable[str], environment: Mapping[str, str], of_modules: Mapping[str, type[ModuleSettings]]
) -> Settings:
    """The settings of this process. Raises Refused with a sentence for each that the targets lack or cannot use."""
    targets = list(targets)
    services = sorted({service_of(target) for target in targets})
    problems: list[str] = []
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        problems += invalid_settings(error)
    for target in targets:
        if target in of_modules:
            try:
                of_modules[target]()
            except ValidationError as error:
                problems += invalid_settings(error)
    for service in services:
        variable = f"PROSA_{service.upper()}_DATABASE_URL"
        if service in SERVICES and not environment.get(variable):
            problems.append(f"{variable} is not set; the target {service} needs it.")
    if settings is not None:
        problems += _missing_keys(settings.keys_dir, services)
    if problems:
        sentences = " ".join(problem if problem.endswith(".") else f"{problem}." for problem in problems)
        raise Refused(f"{sentences} All settings: {PAGE}.", reason="SETTINGS_INVALID", exit_code=REFUSED)
    assert settings is not None
    return settings


def _missing_keys(directory: Path, services: Iterable[str]) -> list[str]:
    wanted = [f"{service}.key" for service in services]
    if SEALING & set(services):
        wanted.append(KEY_FILE)
    missing = [name for name in wanted if not (directory / name).exists()]
    if not missing:
        return []
    return [f"PROSA_KEYS_DIR is {directory}, where {', '.join(missing)} is missing; `prosa keys create` fills it."]
