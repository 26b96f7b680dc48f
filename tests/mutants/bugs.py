"""Every bug that the tests must catch: planted by hand once, met in the field, or overlooked before."""

from __future__ import annotations

from tests.mutants import access_bugs, chassis_bugs, ingest_bugs, list_bugs, people_bugs, receiver_bugs, sending_bugs

MUTANTS = (
    *chassis_bugs.MUTANTS,
    *receiver_bugs.MUTANTS,
    *ingest_bugs.MUTANTS,
    *people_bugs.MUTANTS,
    *list_bugs.MUTANTS,
    *access_bugs.MUTANTS,
    *sending_bugs.MUTANTS,
)
