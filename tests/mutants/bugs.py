"""Every bug that the tests must catch: planted by hand once, met in the field, or overlooked before."""

from __future__ import annotations

from tests.mutants import chassis_bugs, door_bugs, ingest_bugs, people_bugs

MUTANTS = (*chassis_bugs.MUTANTS, *door_bugs.MUTANTS, *ingest_bugs.MUTANTS, *people_bugs.MUTANTS)
