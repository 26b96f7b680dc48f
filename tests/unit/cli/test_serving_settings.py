"""The settings of a process are those of its targets, and all that is wrong with them is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.config import Settings
from cli.failures import Refused
from cli.serving_settings import read_settings
from gateway.settings import GatewaySettings
from services.targets import SETTINGS, TARGETS


@pytest.fixture(autouse=True)
def no_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A port that nobody has."""
    monkeypatch.setenv("PROSA_KEYS_DIR", str(tmp_path))
    monkeypatch.setenv("PROSA_HTTP_PORT", "99999")


def test_what_is_wrong_with_a_modules_settings_is_said_with_all_the_rest() -> None:
    with pytest.raises(Refused) as refused:
        read_settings(["gateway", "crm"], {}, SETTINGS)
    said = str(refused.value)
    assert "PROSA_HTTP_PORT: " in said
    assert "PROSA_CRM_DATABASE_URL is not set" in said
    assert "gateway.key" in said


def test_a_process_does_not_ask_for_what_its_modules_do_not_need() -> None:
    with pytest.raises(Refused) as refused:
        read_settings(["crm"], {}, SETTINGS)
    assert "PROSA_HTTP_PORT" not in str(refused.value)


def test_what_a_process_is_made_with_by_hand_is_its_modules_too(tmp_path: Path) -> None:
    settings = Settings(keys_dir=tmp_path, http_port=8181)  # type: ignore[call-arg]
    assert GatewaySettings.within(settings).http_port == 8181


def test_each_setting_has_one_class() -> None:
    named = [*Settings.model_fields, *(name for owner in SETTINGS.values() for name in owner.model_fields)]
    assert len(named) == len(set(named))
    assert SETTINGS.keys() <= TARGETS.keys()
