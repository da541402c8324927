"""Dagster's own storage held in memory, one for each home folder: as the files would be between commands, only sooner there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dagster import StringSource
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from dagster._serdes import ConfigurableClassData

S = TypeVar("S", bound="_Kept")
_kept: dict[tuple[type, str], Any] = {}


class _Kept:
    """A storage that is there again when the instance of its home is opened again."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"home": StringSource}

    @classmethod
    def from_config_value(cls: type[S], inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> S:
        key = (cls, config_value["home"])
        if key not in _kept:
            _kept[key] = cls(inst_data=inst_data)  # type: ignore[call-arg]
        found: S = _kept[key]
        return found

    def dispose(self) -> None:
        """Nothing: it is opened again."""


class Runs(_Kept, InMemoryRunStorage):
    pass


class Events(_Kept, InMemoryEventLogStorage):
    pass


def dagster_yaml(home: str) -> str:
    """The `dagster.yaml` of an instance whose storage is kept here."""
    lines = ["telemetry: {enabled: false}", "nux: {enabled: false}"]
    for part, name in (("run_storage", "Runs"), ("event_log_storage", "Events")):
        lines.append(f"{part}: {{module: {__name__}, class: {name}, config: {{home: {home!r}}}}}")
    return "\n".join(lines) + "\n"
