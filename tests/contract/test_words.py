"""Nothing is named by a private word for which the glossary has a known one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".md", ".proto", ".py", ".rules", ".service", ".sh", ".sql", ".toml", ".ts", ".tsx", ".yaml", ".yml"}
PRIVATE = re.compile(
    r"(?i:(?<![a-z])rooms?(?![a-z]))|(?i:(?<![a-z])doors?(?![a-z]))|[Jj]ourneys?(?![a-z])|(?<![A-Za-z])[Ss]hel(?:f|ves)(?![a-z])"
    r"|(?i:stand[-_]?ins?(?![a-z]))|\bRequests\(|\bchassis\.(?:requests|batches|batching)\b|(?i:(?<![a-z])strands?(?![a-z]))"
    r"|\bFieldsWrong\b|\bWrong\(|[Ff]urnish|(?i:(?<![a-z])passages?(?![a-z]))|\bOffice\b|\boffice\b(?!\s+of\s+a\s+business)"
    r"|\bcontext\.carried\b|\bParts\(|\b(?:Token)?Gate\b|[Ww]atcher|\btravel(?:\(|_in_halves\b)"
    r"|\b(?:below|around)\(|\bDirectory\(|\btx\.exec_driver_sql\b"
    r"|Rooms?(?=[A-Z])|Door(?=[A-Z])|StandIn|(?i:overhear)|(?<![A-Za-z])_?bur(?:y|ied)(?![a-z])|(?<![A-Za-z])[Hh]ears?(?![a-z])"
)
PAGES_THAT_SAY_THEM = {
    # What names were before, for those who must change them elsewhere.
    "CHANGELOG.md",
    "docs/GLOSSARY.md",
    "tests/contract/test_words.py",
}
OTHERS_WORDS = (
    "back office",
    "out-of-office",
    # The former value of --shape, which is still taken.
    'FORMER_RECEIVER = "door"',
    'Shape("door")',
)


def pages() -> Iterator[tuple[str, str]]:
    """Every file of the project that people wrote, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(("gen/", "third_party/")) or name in PAGES_THAT_SAY_THEM:
            continue
        if Path(name).suffix in SUFFIXES or name == "Makefile":
            yield name, (ROOT / name).read_text(encoding="utf-8")


def private_words(text: str) -> list[str]:
    """The private words of a text."""
    for phrase in OTHERS_WORDS:
        text = text.replace(phrase, "")
    return PRIVATE.findall(text)


def test_no_private_word_is_left() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("only a checkout says which files are the project's")
    found = {name: words for name, text in pages() if (words := private_words(name) + private_words(text))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "room.identity",
        "ROOM_CHECK",
        "the door",
        "_serve_door",
        "DoorMetrics",
        "journeys",
        "StandInRooms",
        "a stand-in Chatwoot",
        "stand_ins",
        "STRANDS",
        "class Watcher",
        "_bury(tx)",
        "it overhears",
        "hears of it",
        "the office's account",
        "await path.travel(item)",
        "with around(process):",
        "below(name, found)",
    ],
)
def test_a_private_word_is_seen_wherever_it_stands(text: str) -> None:
    assert private_words(text)


@pytest.mark.parametrize(
    "text", ["the back office of a business", "headroom", "indoors", "heartbeat", "Gateway", "share"]
)
def test_a_common_word_is_none_of_them(text: str) -> None:
    assert private_words(text) == []
