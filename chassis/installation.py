"""Which installation this is, and what it refuses: streams that are another one's.

Streams have fixed names, so two installations on one NATS account find each other's. Every database therefore holds an
id, drawn once when it is migrated; a stream carries the id of the installation that made it, and each of its facts
does too. What carries another id is neither read nor deleted: the process says so and waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from nats.js.api import StreamInfo

from chassis.db import Database
from chassis.inner import NotReady

EPOCH_KEY = "prosa.epoch"
INSTALLATION_KEY = "prosa.installation"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamMark:
    """What a stream says of itself."""

    created: str
    epoch: int
    """Which incarnation it is; 0 where it does not say."""
    installation_id: str | None
    """Whose it is; None where the version before made it."""

    @classmethod
    def of(cls, info: StreamInfo) -> StreamMark:
        """Reads the mark."""
        metadata = info.config.metadata or {}
        return cls(str(info.created), int(metadata.get(EPOCH_KEY, "0")), metadata.get(INSTALLATION_KEY))


def mark(epoch: int, installation_id: UUID | None) -> dict[str, str]:
    """The metadata by which a stream is known again."""
    metadata = {EPOCH_KEY: str(epoch)}
    if installation_id is not None:
        metadata[INSTALLATION_KEY] = str(installation_id)
    return metadata


class StreamRefused(Exception):
    """A stream under our name is not ours."""

    def __init__(self, stream: str, owner: str | None, own: UUID | None) -> None:
        self.stream = stream
        self.owner = owner
        if own is None:
            what_to_do = "This database does not know its own yet: run `prosa migrate`."
        else:
            what_to_do = (
                f"This one is {own}. Give each installation a NATS account of its own; if nobody uses the stream any"
                " more, delete it, and it is made anew."
            )
        whose = f"is of installation {owner}" if owner else "does not say of which installation it is"
        super().__init__(f"The stream {stream} {whose}. {what_to_do}")


class Refusals:
    """The streams that are refused at present: said in the log once, and by readiness for as long as it lasts."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def refuse(self, refused: StreamRefused, *, by: str) -> None:
        """Remembers why a stream is not used."""
        sentence = str(refused)
        if self._sentences.get(refused.stream) != sentence:
            self._sentences[refused.stream] = sentence
            logger.error(
                "stream_refused", stream=refused.stream, by=by, installation_id=refused.owner, explanation=sentence
            )

    def admit(self, stream: str, *, by: str) -> None:
        """The stream is used, again or still."""
        if self._sentences.pop(stream, None) is not None:
            logger.info("stream_admitted", stream=stream, by=by)

    def forget(self) -> None:
        """Says nothing more: whoever holds the lease from now on looks for itself."""
        self._sentences.clear()

    def __contains__(self, stream: object) -> bool:
        return stream in self._sentences

    async def check(self) -> None:
        """Raises NotReady while a stream is refused."""
        if self._sentences:
            raise NotReady(" ".join(self._sentences.values()))


async def read_installation_id(db: Database, schema: str) -> UUID | None:
    """The installation's id; None where the schema is one from before there were ids."""
    async with db.transaction() as tx:
        function = f"{schema}.installation_id()"
        known = await tx.execute("select to_regprocedure(%(function)s) is not null as known", {"function": function})
        if not known.scalar_one():
            return None
        found: UUID | None = (await tx.execute(f"select {function}")).scalar_one()
        return found
