"""Identity's settings."""

from __future__ import annotations

from chassis.config import ModuleSettings


class IdentitySettings(ModuleSettings):
    """What counts as naming nobody."""

    blocked_identifiers: str = ""
    """Phones, e-mails and words, comma separated, that count as absent besides the usual ones; ``@host`` blocks a whole
    host. Nobody is ever taken for somebody else by one of them."""
