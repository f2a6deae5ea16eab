"""What report.json says of a run's settings."""

from __future__ import annotations

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.report.building import shown_settings


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("mysql://me:secret@host/db", "mysql://me:***@host/db"),
        ("http://host:5000", "http://host:5000"),
        (None, None),
    ],
    ids=["password", "none", "nowhere"],
)
def test_settings_are_shown_without_a_password(place: str | None, shown: str | None) -> None:
    config = RunConfig(mlflow=place)
    assert shown_settings(config) == config.to_dict() | {"mlflow": shown}
