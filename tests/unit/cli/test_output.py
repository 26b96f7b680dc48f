"""Fields and tables as they are printed for people."""

from __future__ import annotations

import io
import json
import sys

import pytest

from cli.output import print_fields, print_json, print_rows

ROW = {
    "webhook_event_id": "01a2243e-d177-7515-9bda-177ada757552",
    "receive_time": "2026-11-28T22:20:26.123456Z",
    "explanation": "It names no inbox, so nobody can tell which channel it belongs to; look who else sends there.",
    "detail": None,
}


@pytest.mark.case("O14", "O10")
def test_a_long_sentence_goes_on_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_fields(ROW)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert " ".join(printed.split()).endswith(str(ROW["explanation"]))
    assert "2026-11-28 22:20:26Z\n" in printed
    assert "detail" not in printed


@pytest.mark.case("O14")
def test_a_wide_character_takes_its_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"name": "🍇🍇", "n": 1}, {"name": "abcd", "n": 2}], ["name", "n"], width=40)
    assert capsys.readouterr().out.splitlines()[2:] == ["🍇🍇  1", "abcd  2"]


@pytest.mark.case("F16")
def test_json_is_whole_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", output)
        print_json({"name": "🍇 é"})
        output.seek(0)
        assert json.loads(output.read()) == {"name": "🍇 é"}
