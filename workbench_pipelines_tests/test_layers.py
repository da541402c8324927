"""The dependency law: who may import what, seen in a fresh interpreter and in the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "workbench_pipelines"
HEAVY = (
    "mlflow",
    "dspy",
    "litellm",
    "great_expectations",
    "torch",
    "sklearn",
    "matplotlib",
    "xllamacpp",
    "wordllama",
    "ray",
)


def modules(*, under: str | None = None) -> list[Path]:
    return sorted((PACKAGE / under if under else PACKAGE).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The modules a file imports at any depth of its code, type-checking blocks left out."""
    tree = ast.parse(file.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def loaded_by(module: str) -> set[str]:
    code = f"import {module}, sys; print(*sys.modules)"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PACKAGE.parent), "HOME": str(Path.home())}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return {name.partition(".")[0] for name in done.stdout.split()}


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def is_dagster_side(file: Path) -> bool:
    place = file.relative_to(PACKAGE)
    return place.parts[0] == "defs" or place.name in ("definitions.py", "launching.py")


def test_only_the_rooms_the_entry_point_and_the_launcher_import_dagster() -> None:
    strays = [
        dotted(file)
        for file in modules()
        if not is_dagster_side(file) and any(name.split(".")[0].startswith("dagster") for name in imported(file))
    ]
    assert strays == []


def test_the_whole_core_loads_without_dagster_and_without_a_heavy_package() -> None:
    # The embedded provider is litellm's own kind of class: whoever asks litellm imports it, and nobody else.
    core = [f for f in modules() if not is_dagster_side(f) and "cli" not in f.parts and f.stem != "embedded_provider"]
    loaded = loaded_by(", ".join(map(dotted, core)))
    assert loaded.isdisjoint({"dagster", *HEAVY})


def test_the_code_location_loads_without_a_heavy_package() -> None:
    assert loaded_by("workbench_pipelines.definitions, workbench_pipelines.defs.train.assets").isdisjoint(HEAVY)


def test_no_room_imports_another_room() -> None:
    rooms = {path.name for path in (PACKAGE / "defs").iterdir() if path.is_dir() and path.name != "__pycache__"}
    strays = [
        (dotted(file), name)
        for room in rooms
        for file in modules(under=f"defs/{room}")
        for name in imported(file)
        for other in rooms - {room}
        if name.startswith(f"workbench_pipelines.defs.{other}")
    ]
    assert strays == []


@pytest.mark.parametrize("layer", ["core", "clients"])
def test_nouns_and_clients_import_downward_only(layer: str) -> None:
    files = modules(under="clients") if layer == "clients" else [f for f in modules() if _is_pure(f)]
    forbidden = ("defs", "cli", "definitions", "launching", "workbench") + (() if layer == "clients" else ("clients",))
    strays = [
        (dotted(file), name)
        for file in files
        for name in imported(file)
        for part in forbidden
        if name == f"workbench_pipelines.{part}" or name.startswith(f"workbench_pipelines.{part}.")
    ]
    assert strays == []


def test_only_the_resources_and_the_command_line_read_the_environment() -> None:
    readers = {dotted(f) for f in modules() if "os.environ" in f.read_text() or "os.getenv" in f.read_text()}
    # A client may set a switch of the package behind it before that package is imported, and reads nothing.
    switches = {name for name in readers if name.startswith("workbench_pipelines.clients.")}
    cli = {name for name in readers if name.startswith("workbench_pipelines.cli")}
    known = {"workbench_pipelines.defs.resources", "workbench_pipelines.launching", "workbench_pipelines.settings"}
    assert readers - switches - cli <= known


def _is_pure(file: Path) -> bool:
    """A noun: a module of the core that composes no doors."""
    place = file.relative_to(PACKAGE)
    if place.parts[0] in ("defs", "clients", "cli") or place.name in ("definitions.py", "launching.py", "workbench.py"):
        return False
    return "workbench_pipelines.workbench" not in imported(file)
