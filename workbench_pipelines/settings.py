"""Where a project, its lake and its services are: the environment as one frozen value.

`WORKBENCH_PROJECT`, `WORKBENCH_ROOTS`, `WORKBENCH_LAKE`, `WORKBENCH_MODEL`, `WORKBENCH_BUDGET_USD`, `WORKBENCH_USER`,
`WORKBENCH_PSEUDONYM_KEY`, `MLFLOW_TRACKING_URI`, `WORKBENCH_RAY_ADDRESS`, `LABEL_STUDIO_URL` and `LABEL_STUDIO_TOKEN` are read
here and nowhere else; `os.environ` itself is only touched by `defs/resources.py` and the entry of the command line, which hand
it in, and for the secrets of a process that a cluster started.
"""

from __future__ import annotations

import getpass
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench_pipelines.errors import ArgumentError

# Names of variables whose values are secrets: they are scrubbed from every message.
_SECRET_NAME = re.compile(r"(API_KEY|TOKEN|SECRET|PASSWORD|ACCESS_KEY|PSEUDONYM_KEY)$", re.IGNORECASE)
# Host and port of a cluster's head.
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")
# A shorter value is no credential, and scrubbing it would riddle every text with holes.
_MIN_SECRET_LENGTH = 8

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds this package: the default project and the default DAGSTER_HOME."""


@dataclass(frozen=True)
class Settings:
    """One project and where its parts are.

    Attributes:
        project: folder with `sheets/` and `templates/`.
        roots: further folders that sources may lie in.
        state: folder for everything a run leaves behind (`.workbench` in the project).
        lake: folder or URI of the Delta tables.
        mlflow_uri: tracking URI of MLflow.
        model: model id that replaces the one of every TrainingSheet and template, or None.
        budget_usd: most that a run may spend, or None for no limit.
        user: who acts, for decisions and audits.
        ray_address: the Ray cluster that generation is spread over, None for one on this machine.
        label_studio_url: where Label Studio is, None where there is none.
        label_studio_token: the token of who works there for the project.
        secrets: values that must never be shown.
        pseudonym_key: what pseudonyms are made with, None for the key that the project makes itself.
    """

    project: Path
    roots: tuple[Path, ...]
    state: Path
    lake: str
    mlflow_uri: str
    model: str | None
    budget_usd: float | None
    user: str
    ray_address: str | None = None
    label_studio_url: str | None = None
    label_studio_token: str | None = field(default=None, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    pseudonym_key: str | None = field(default=None, repr=False)


def settings_from(environ: Mapping[str, str]) -> Settings:
    """The settings that an environment states, with the defaults for what it leaves out.

    Raises:
        ArgumentError: for a project that is no folder, a budget that is no number, a cluster that is no address, or a key that
            can be guessed.
    """
    project = Path(environ.get("WORKBENCH_PROJECT") or CHECKOUT).expanduser().resolve()
    if not project.is_dir():
        raise ArgumentError(
            f"WORKBENCH_PROJECT: {project.name} is no folder; point it at the one with sheets/ and templates/"
        )
    state = project / ".workbench"
    lake = environ.get("WORKBENCH_LAKE") or str(state / "lake")
    if "://" not in lake:
        lake = str(Path(lake).expanduser().resolve())
    roots = [
        Path(part).expanduser().resolve() for part in (environ.get("WORKBENCH_ROOTS") or "").split(os.pathsep) if part
    ]
    return Settings(
        project=project,
        roots=tuple(roots),
        state=state,
        lake=lake,
        mlflow_uri=environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'mlflow.db'}",
        model=environ.get("WORKBENCH_MODEL") or None,
        budget_usd=_budget(environ.get("WORKBENCH_BUDGET_USD")),
        user=environ.get("WORKBENCH_USER") or _login(),
        ray_address=_ray_address(environ.get("WORKBENCH_RAY_ADDRESS")),
        label_studio_url=environ.get("LABEL_STUDIO_URL") or None,
        label_studio_token=environ.get("LABEL_STUDIO_TOKEN") or None,
        secrets=_secrets(environ),
        pseudonym_key=_pseudonym_key(environ.get("WORKBENCH_PSEUDONYM_KEY")),
    )


def secrets_of_process() -> frozenset[str]:
    """What must never be shown of the environment of a process that a cluster started."""
    return _secrets(os.environ)


def _secrets(environ: Mapping[str, str]) -> frozenset[str]:
    return frozenset(v for k, v in environ.items() if _SECRET_NAME.search(k) and len(v) >= _MIN_SECRET_LENGTH)


def _budget(text: str | None) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
        if not (math.isfinite(found) and found >= 0):
            raise ValueError
        return found
    except ValueError:
        raise ArgumentError(f"WORKBENCH_BUDGET_USD: '{text}' is no amount; write it like 2.50") from None


def _pseudonym_key(text: str | None) -> str | None:
    # Whoever guesses the key can try every number there is against a token: 32 characters of `openssl rand -hex` are 128 bits.
    if text and (len(text) < 32 or len(set(text)) < 8):
        raise ArgumentError(
            "WORKBENCH_PSEUDONYM_KEY: this can be guessed; take 32 random characters at least, as `openssl rand -hex 32` makes"
        )
    return text or None


def _ray_address(text: str | None) -> str | None:
    if text and not _ADDRESS.fullmatch(text):
        raise ArgumentError("WORKBENCH_RAY_ADDRESS: this is no address of a cluster; write it like 10.0.0.5:6379")
    return text or None


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
