"""How many files, and so connections, this process may hold open: as many as the system lets it."""

from __future__ import annotations

import resource

import structlog

OPEN_FILES_MAX = 1_048_576
"""More is not asked for: where the system knows no bound, it refuses a limit without one."""
OPEN_FILES_FLOOR = 4_096
"""With fewer, a busy hour or a stranger with a thousand sockets reaches the end of them."""

logger = structlog.get_logger(__name__)


def raise_open_files() -> int:
    """Raises this process's limit to the highest it may have, for itself and what it starts; answers the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= highest:
        return OPEN_FILES_MAX if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    except (OSError, ValueError) as error:
        # Some systems have a lower bound of their own, which only their administrator knows.
        logger.warning("open_files_not_raised", limit=soft, wanted=highest, error=repr(error))
        return soft
    return highest


def advice(limit: int) -> str:
    """What to do where the limit is below the floor."""
    return (
        f"Only {limit} files may be open at once; with {OPEN_FILES_FLOOR} Prosa bears a flood of connections. "
        "Raise the hard limit: `ulimit -Hn` as root, or LimitNOFILE= in a systemd unit."
    )


def warn_if_few(limit: int) -> None:
    """Says so in the log where the limit is below the floor."""
    if limit < OPEN_FILES_FLOOR:
        logger.warning("open_files_few", limit=limit, floor=OPEN_FILES_FLOOR, advice=advice(limit))
