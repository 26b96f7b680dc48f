"""How far an organization is: what going live and going back change. No I/O, no clock, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class RolloutState(StrEnum):
    """How far it is."""

    PREPARING = "PREPARING"
    ACTIVATING = "ACTIVATING"
    """Going live was begun: automation may be on or off."""
    LIVE = "LIVE"
    ROLLED_BACK = "ROLLED_BACK"


class By(NamedTuple):
    """Who changes it, why and when."""

    principal: str
    name: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """A row of ``rollouts``; as it is here while the organization went neither live nor back."""

    organization_id: UUID
    state: RolloutState = RolloutState.PREPARING
    activate_time: datetime | None = None
    roll_back_time: datetime | None = None
    reason: str = ""
    principal: str = ""
    principal_name: str = ""
    update_time: datetime | None = None
    version: int = 0

    def activating(self, by: By) -> Rollout:
        """On its way to live, whoever else was on the way before."""
        return replace(self._changed(by), state=RolloutState.ACTIVATING)

    def activated(self, by: By) -> Rollout:
        """Live."""
        return replace(self._changed(by), state=RolloutState.LIVE, activate_time=by.time)

    def given_up(self, before: Rollout) -> Rollout:
        """As it was ``before`` somebody wanted it live, who has switched automation off again."""
        state = RolloutState.PREPARING if before.roll_back_time is None else RolloutState.ROLLED_BACK
        return replace(before, state=state, version=self.version + 1)

    def rolled_back(self, by: By) -> Rollout:
        """Back; where it is, a change all the same, which whoever wants it live meanwhile is overtaken by."""
        since = self.roll_back_time if self.state is RolloutState.ROLLED_BACK else by.time
        return replace(self._changed(by), state=RolloutState.ROLLED_BACK, roll_back_time=since)

    def overtaken(self, began_as: Rollout) -> bool:
        """Whether it was taken back since it was as ``began_as`` says: whoever wanted it live then was overtaken."""
        return self.version != began_as.version and self.state is RolloutState.ROLLED_BACK

    def still(self, activating: Rollout) -> bool:
        """Whether nobody has changed it since it was ``activating``."""
        return self.version == activating.version

    def _changed(self, by: By) -> Rollout:
        return replace(
            self,
            reason=by.reason,
            principal=by.principal,
            principal_name=by.name,
            update_time=by.time,
            version=self.version + 1,
        )
