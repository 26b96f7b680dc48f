"""What ``prosa serve --target`` can start: the whole system on one screen.

======================  =======================================================================
gateway                 HTTP: webhooks, REST, live updates, documentation
ingest-accept           the acceptor: ``AcceptWebhooks`` alone
ingest                  connections, processing, dead letters, the event feed (and the acceptor)
identity                organizations, members, keys; contacts and their identities
conversation            conversations and messages
outreach                suppressions
crm                     boards, deals, reconciliation tasks
======================  =======================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

import gateway.module
import services.conversation.module
import services.crm.module
import services.identity.module
import services.ingest.module
import services.outreach.module
from chassis.process import Start

TARGETS: Mapping[str, Start] = {
    "identity": services.identity.module.start,
    "crm": services.crm.module.start,
    "outreach": services.outreach.module.start,
    "conversation": services.conversation.module.start,
    "ingest": services.ingest.module.start,
    "ingest-accept": services.ingest.module.start_accept,
    "gateway": gateway.module.start,
}

ALL = tuple(name for name in TARGETS if name != "ingest-accept")
"""Every service once: ``ingest`` holds the acceptor too."""


def chosen(names: str) -> dict[str, Start]:
    """The targets of a comma separated list, or all. Raises ValueError naming what is unknown and what there is."""
    wanted = ALL if names == "all" else tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in wanted if name not in TARGETS]
    if unknown or not wanted:
        raise ValueError(f"Unknown target {', '.join(unknown) or names!r}; there are: all, {', '.join(TARGETS)}.")
    # One process needs one acceptor, and the whole of ingest has it.
    return {name: TARGETS[name] for name in wanted if name != "ingest-accept" or "ingest" not in wanted}
