"""Forks that nothing is collected in.

uvloop spawns by a fork whose child runs Python for a moment before it executes the program. Were the collector to run
just then and find a closed object of gRPC, that object would wait for threads which the child does not have: the child
spins for ever, and the parent waits for it inside C, where neither a signal nor a time limit reaches it.
"""

from __future__ import annotations

import gc
import os
from functools import cache


@cache
def collect_nothing_in_forks() -> None:
    """Keeps the collector from running in any child that this process forks from now on; once is enough."""
    state = {"enabled": True}

    def before() -> None:
        state["enabled"] = gc.isenabled()
        gc.disable()

    def after_in_parent() -> None:
        if state["enabled"]:
            gc.enable()

    os.register_at_fork(before=before, after_in_parent=after_in_parent)
