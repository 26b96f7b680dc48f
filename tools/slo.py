"""Writes what follows from deploy/slo.yaml: Prometheus' rules, the product's own thresholds, and a page.

`--check` only compares. What an alert needs and does not say, or says and nothing uses, is an error that names it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # no stubs are published with it

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "deploy" / "slo.yaml"
RULES = ROOT / "deploy" / "alerts" / "prosa.rules.yaml"
THRESHOLDS = ROOT / "services" / "ingest" / "health" / "thresholds.py"
PAGE = ROOT / "docs" / "slo.md"
MADE = "Made by `make generate` from deploy/slo.yaml; do not edit."
UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
SEVERITIES = ("page", "ticket")
_WINDOW = re.compile(r"([1-9][0-9]*)([smhd])")
_PLACES = ("<threshold>", "<window>")


def main(arguments: Sequence[str]) -> int:
    """Answers 1 where `--check` finds a file that deploy/slo.yaml would not make."""
    files = made(yaml.safe_load(SOURCE.read_text(encoding="utf-8")))
    if "--check" in arguments:
        stale = [str(path.relative_to(ROOT)) for path, text in files.items() if _read(path) != text]
        if stale:
            sys.stderr.write(f"Not what deploy/slo.yaml makes of them: {', '.join(stale)}. Run: make generate\n")
        return 1 if stale else 0
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return 0


def made(document: Mapping[str, Any]) -> dict[Path, str]:
    """Every file with its text. Raises ValueError where the document says something that cannot be."""
    thresholds = document["thresholds"]
    alerts = [_resolved(alert, thresholds) for alert in document["prometheus"]]
    return {
        RULES: _rules(alerts),
        THRESHOLDS: _constants(thresholds),
        PAGE: _page(document["objectives"], thresholds, alerts),
    }


def words(window: str, *, alone: bool = False) -> str:
    """A window as people say it: "15 minutes", and of one "hour", or "1 hour" where it stands alone."""
    count, unit = _parts(window)
    if count == 1:
        return f"1 {UNITS[unit]}" if alone else UNITS[unit]
    return f"{count} {UNITS[unit]}s"


def seconds(window: str) -> int:
    """A window's length."""
    count, unit = _parts(window)
    return count * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[unit]


def _parts(window: str) -> tuple[int, str]:
    found = _WINDOW.fullmatch(str(window))
    if found is None:
        raise ValueError(f"{window!r} is no window: write a number and s, m, h or d.")
    return int(found.group(1)), found.group(2)


def _resolved(alert: Mapping[str, Any], thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """An alert with its numbers in their places."""
    name = alert["alert"]
    values = dict(alert)
    if of := values.pop("of", ""):
        if of not in thresholds:
            raise ValueError(f"{name}: there is no threshold {of!r}.")
        values |= {"threshold": thresholds[of]["share"], "window": thresholds[of]["window"]}
    if values["severity"] not in SEVERITIES:
        raise ValueError(f"{name}: severity is one of {', '.join(SEVERITIES)}.")
    expr, summary = values["expr"].strip(), values["summary"]
    for field in ("threshold", "window"):
        if (field in values) is not (f"<{field}>" in expr + summary):
            raise ValueError(f"{name}: {field} and <{field}> go together.")
    values["expr"] = _filled(expr, values, lambda window: window)
    values["summary"] = _filled(summary, values, words)
    return values


def _filled(text: str, values: Mapping[str, Any], say: Any) -> str:
    if "threshold" in values:
        text = text.replace(_PLACES[0], str(values["threshold"]))
    if "window" in values:
        text = text.replace(_PLACES[1], say(str(values["window"])))
    return text


def _rules(alerts: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"# {MADE}",
        "# Alerts on Prosa's own metrics, for the scrape job `prosa`. Each names the section of docs/runbooks to open.",
        "# severity page: somebody must look now, customers are waiting. severity ticket: look today.",
        "groups:",
        "  - name: prosa",
        "    rules:",
    ]
    for alert in alerts:
        lines += _rule(alert)
    return "\n".join(lines[:-1]) + "\n"


def _rule(alert: Mapping[str, Any]) -> Iterator[str]:
    yield f"      - alert: {alert['alert']}"
    if "why" in alert:
        yield f"        # {alert['why']}"
    if "\n" in alert["expr"]:
        yield "        expr: |"
        yield from (f"          {line}" for line in alert["expr"].splitlines())
    else:
        yield f"        expr: {alert['expr']}"
    if "for" in alert:
        yield f"        for: {alert['for']}"
    yield f"        labels: {{severity: {alert['severity']}}}"
    yield "        annotations:"
    yield f'          summary: "{alert["summary"]}"'
    yield f"          runbook: {alert['runbook']}"
    yield ""


def _constants(thresholds: Mapping[str, Any]) -> str:
    lines = [
        '"""What Prosa itself alerts on, for each organization.',
        "",
        MADE,
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from datetime import timedelta",
    ]
    for name, threshold in thresholds.items():
        prefix = name.upper()
        lines += [
            "",
            f"{prefix}_SHARE = {threshold['share']}",
            f'"""{threshold["says"]}; more than this share opens an alert."""',
            f"{prefix}_WINDOW = timedelta(seconds={seconds(threshold['window'])})",
            f"{prefix}_EVENTS_MIN = {threshold['events_min']}",
            f"{prefix}_FAILURES_MIN = {threshold['failures_min']}",
            '"""With fewer events, or fewer failures, none opens."""',
        ]
    return "\n".join(lines) + "\n"


def _page(
    objectives: Sequence[Mapping[str, Any]], thresholds: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> str:
    lines = [
        "# Objectives and alerts",
        "",
        MADE,
        "",
        "## Objectives",
        "",
        "| objective | at least | over |",
        "| --- | --- | --- |",
        *(
            f"| {item['says']} ({item['demand']}) | {_percent(item['target'])} | {words(item['window'], alone=True)} |"
            for item in objectives
        ),
        "",
        "## Of one organization: `prosa alerts`",
        "",
        "Opens once, with at least so many events and failures in the window; resolved when the share is not above it.",
        "",
        "| what | more than | in | events | failures |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {item['says']} ({item['demand']}) | {_percent(item['share'])} | {words(item['window'], alone=True)}"
            f" | {item['events_min']} | {item['failures_min']} |"
            for item in thresholds.values()
        ),
        "",
        "## Of the installation: Prometheus",
        "",
        "| alert | severity | above | window | for | runbook |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| `{alert['alert']}` | {alert['severity']} | {alert.get('threshold', '')} | {alert.get('window', '')}"
            f" | {alert.get('for', '')} | [{alert['runbook']}](runbooks/README.md#{alert['runbook']}) |"
            for alert in alerts
        ),
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
