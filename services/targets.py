"""What ``prosa serve --target`` starts, by the table of ``chassis.system``."""

from __future__ import annotations

from collections.abc import Mapping

import gateway.module
import services.conversation.module
import services.crm.module
import services.identity.module
import services.ingest.module
import services.outreach.module
from chassis import system
from chassis.config import ModuleSettings
from chassis.process import Start
from gateway.settings import GatewaySettings
from services.identity.settings import IdentitySettings

TARGETS: Mapping[str, Start] = {
    "identity": services.identity.module.start,
    "crm": services.crm.module.start,
    "outreach": services.outreach.module.start,
    "conversation": services.conversation.module.start,
    "ingest": services.ingest.module.start,
    "ingest-accept": services.ingest.module.start_accept,
    "gateway": gateway.module.start,
}

SETTINGS: Mapping[str, type[ModuleSettings]] = {"gateway": GatewaySettings, "identity": IdentitySettings}
"""What a target must know besides the settings of every process."""

_WITHIN = {target.name: target.within for target in system.TARGETS if target.within}
ALL = tuple(name for name in TARGETS if name not in _WITHIN)
"""Every service once: ``ingest`` holds the acceptor too."""


def chosen(names: str) -> dict[str, Start]:
    """The targets of a comma separated list, or all. Raises ValueError naming what is unknown and what there is."""
    wanted = ALL if names == "all" else tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in wanted if name not in TARGETS]
    if unknown or not wanted:
        raise ValueError(f"Unknown target {', '.join(unknown) or names!r}; there are: all, {', '.join(TARGETS)}.")
    # One process needs one acceptor, and the whole of ingest has it.
    return {name: TARGETS[name] for name in wanted if _WITHIN.get(name) not in wanted}
