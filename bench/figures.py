"""A figure beside its limit, what was hoped of it, and the table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = ("figure", "product", "limit", "ratio", "goal", "verdict")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio (or, without a limit, the product's own value) must or should be."""

    value: float
    at_least: bool
    must: bool = False

    def holds(self, measured: float) -> bool:
        """Says whether the bound is kept."""
        return measured >= self.value if self.at_least else measured <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: product and limit of each interleaved run, in pairs."""

    name: str
    unit: str
    product: Sequence[float]
    limit: Sequence[float] = ()
    bounds: Sequence[Bound] = ()
    of_product: bool = False
    """The bounds are of the product's own value, in its unit, though a limit stands beside it."""
    series: int = 1
    """Runs are of so many series of the same length, one after the other."""

    @property
    def ratio(self) -> float | None:
        """The median of the runs' own ratios: what slows a run down slows its limit too.

        Where there are several series, the median of their medians.
        """
        if not self.limit:
            return None
        ratios = [mine / theirs for mine, theirs in zip(self.product, self.limit, strict=True)]
        length, left = divmod(len(ratios), self.series)
        if left:
            raise ValueError(f"{len(ratios)} runs make no {self.series} series of the same length")
        return statistics.median(
            statistics.median(ratios[start : start + length]) for start in range(0, len(ratios), length)
        )

    @property
    def verdict(self) -> str:
        """Held, missed, or FAILED for a bound that must hold; empty without bounds."""
        if not self.bounds:
            return ""
        ratio = self.ratio
        measured = statistics.median(self.product) if ratio is None or self.of_product else ratio
        broken = [bound for bound in self.bounds if not bound.holds(measured)]
        if any(bound.must for bound in broken):
            return "FAILED"
        return "missed" if broken else "held"

    def row(self) -> tuple[str, ...]:
        """The figure's cells, in the order of COLUMNS."""
        ratio = self.ratio
        goals = ", ".join(f"{bound}{' (must)' if bound.must else ''}" for bound in self.bounds)
        return (
            self.name,
            f"{_spread(self.product)} {self.unit}",
            _spread(self.limit),
            "" if ratio is None else f"{ratio:.2f}",
            f"{goals} {self.unit}" if goals and (ratio is None or self.of_product) else goals,
            self.verdict,
        )


def at_least(value: float, *, must: bool = False) -> Bound:
    """A bound from below."""
    return Bound(value, at_least=True, must=must)


def at_most(value: float, *, must: bool = False) -> Bound:
    """A bound from above."""
    return Bound(value, at_least=False, must=must)


def table(figures: Sequence[Figure]) -> str:
    """All figures under one head, as Markdown that reads well in a terminal too."""
    rows = [COLUMNS, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{_short(min(values))} .. {_short(max(values))}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
