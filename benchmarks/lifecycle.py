"""What Dagster adds to the lifecycle: the starter sheets brought up to date by runs, against their bodies called as functions.

    python benchmarks/lifecycle.py [--rounds N] [--project FOLDER]

First `workbench run` makes everything once in a project of its own, with the embedded model and a SQLite instance in a
temporary DAGSTER_HOME: from then on every answer is in the store. Each measurement works on a copy of that project, in a
process in which the whole was called once before, so that no side's time holds the loading of a library.

`bodies` are the assets and checks of the graph called as plain functions, in the order of the runs, on the lake as the IO
manager reads and writes it; no instance, run or event. `runs` are the same through `launching.run_job`, as `workbench run`
launches them. `same graph, empty bodies` has the same runs, assets, inputs and checks, and does nothing in them. The unit is
a run of seven trivial assets in one process.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from side_by_side import Figures, Side, compare, print_table

CHECKOUT = Path(__file__).resolve().parent.parent
WAVES = ("templates", "sheets", "training_sheets", "collections")
TRIVIAL = 7
AIM = 1.2


def make_project(folder: Path) -> None:
    """The starter sheets in a folder of their own, made once: the answers are in the store, the models registered."""
    for name in ("sheets", "templates"):
        shutil.copytree(CHECKOUT / name, folder / name)
    shutil.copy(CHECKOUT / "dagster.yaml", folder)
    labels = str(folder / "sheets" / "labels" / "iris_species.jsonl")
    for command in (["label", "import", labels], ["run"]):
        call = [sys.executable, "-c", "from workbench_pipelines.cli import main; main()", *command]
        done = subprocess.run(call, env=os.environ | environment(folder), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"workbench {command[0]} ended with {done.returncode}: {done.stderr}")


def environment(folder: Path) -> dict[str, str]:
    return {"WORKBENCH_PROJECT": str(folder), "DAGSTER_HOME": str(folder)}


def prepared(made: Path, copies: Path) -> Any:
    """A copy of the project with the definitions loaded, after a first round of all bodies."""
    folder = Path(tempfile.mkdtemp(dir=copies))
    shutil.copytree(made, folder, dirs_exist_ok=True)
    os.environ.update(environment(folder))
    for name in ("great_expectations.data_context.types.base", "py.warnings"):
        logging.getLogger(name).setLevel(logging.ERROR)

    from workbench_pipelines.definitions import definitions
    from workbench_pipelines.defs.resources import WORKBENCH
    from workbench_pipelines.targets import targets_of

    catalog = WORKBENCH.catalog()
    targets = targets_of(catalog)
    loaded = definitions()
    world = SimpleNamespace(
        folder=folder,
        workbench=WORKBENCH,
        catalog=catalog,
        definitions=loaded,
        nodes={job: nodes_of(loaded, job) for job in WAVES},
        partitions=[(job, key) for job in WAVES for key in getattr(targets, job)],
    )
    world.steps = {job: [step_of(node) for node in nodes] for job, nodes in world.nodes.items()}
    call_bodies(world)
    return world


def call_bodies(world: Any) -> str:
    """Every asset and check of every partition, as functions."""
    made = checked = 0
    for job, key in world.partitions:
        for step in world.steps[job]:
            given = {name: read(world, upstream, key) for name, upstream in step.inputs.items()}
            if step.takes_context:
                given["context"] = SimpleNamespace(
                    partition_key=key, partition_keys=[key], log=SimpleNamespace(info=lambda line: None)
                )
            if step.takes_workbench:
                given["workbench"] = world.workbench
            result = step.body(**given)
            if step.column is None:
                checked += 1
            else:
                made += 1
                write(world.workbench.lake, step, key, result.value)
    return f"{made} assets, {checked} checks"


def nodes_of(definitions: Any, job: str) -> list[Any]:
    """The assets and checks of a job, in its order."""
    import dagster as dg

    every = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    by_node = {one.op.name: one for one in every if isinstance(one, dg.AssetsDefinition) and one.is_executable}
    return [by_node[node.name] for node in definitions.resolve_job_def(job).nodes_in_topological_order]


def step_of(node: Any) -> Any:
    """An asset or check as a function, with what it asks for and where its rows go."""
    body = node.op.compute_fn.decorated_fn
    asked = inspect.signature(body).parameters
    metadata = node.metadata_by_key[node.key] if node.keys else {}
    return SimpleNamespace(
        body=body,
        parts=node.key.path if node.keys else None,
        column=metadata.get("partition_column"),
        own_table=bool(metadata.get("table_per_partition")),
        inputs={name: tuple(key.path) for name, key in node.keys_by_input_name.items() if name in asked},
        takes_context="context" in asked,
        takes_workbench="workbench" in asked,
    )


def read(world: Any, upstream: tuple[str, ...], key: str) -> Any:
    """An input as the IO manager loads it: of the partitions that the partition is made of."""
    lake, catalog = world.workbench.lake, world.catalog
    sheets = {sheet.name: sheet.spec for sheet in catalog.training_sheets()}
    if key in sheets and upstream in (("data", "sheet_snapshot"), ("label", "canonical_labels")):
        key = sheets[key].sheet
    if upstream == ("data", "sheet_snapshot"):
        return lake.read(*upstream, key)
    keys = [key]
    if upstream == ("generate", "prompt_templates") and key in sheets:
        keys = [sheets[key].template_name]
    if upstream == ("label", "labeled_pairs") and key in catalog.collections() and key not in sheets:
        keys = [member.training_sheet for member in catalog.collection(key).spec.members]
    return lake.read(*upstream, partition={lake.partition_column(*upstream): keys})


def write(lake: Any, step: Any, key: str, frame: Any) -> None:
    if step.own_table:
        lake.replace_table(*step.parts, key, frame=frame)
    else:
        lake.replace_partition(*step.parts, frame=frame, partition_by=step.column, keys=[key])


def launch_runs(world: Any, definitions: Any = None) -> str:
    """The same through the instance, one run a partition."""
    from workbench_pipelines.launching import dagster_instance, run_job

    made = 0
    with dagster_instance(world.folder) as instance:
        for job, key in world.partitions:
            outcome = run_job(instance, definitions or world.definitions, job, key)
            if outcome.failures or any(check.blocking for check in outcome.failed_checks):
                raise RuntimeError(f"{job} {key}: {outcome}")
            made += len(outcome.made)
    checks = sum(sum(step.column is None for step in world.steps[job]) for job, _ in world.partitions)
    return f"{made} assets, {checks} checks"


def prepared_empty(made: Path, copies: Path) -> Any:
    world = prepared(made, copies)
    world.empty = emptied(world)
    return world


def emptied(world: Any) -> Any:
    """The same jobs, partitions, assets and checks, that pass a number on and do nothing."""
    import dagster as dg

    assets, checks, jobs = [], [], []
    for job, nodes in world.nodes.items():
        for node, step in zip(nodes, world.steps[job], strict=True):
            ins = {name: _empty_input(node, dg.AssetKey(list(parts))) for name, parts in step.inputs.items()}
            if node.keys:
                assets.append(dg.asset(key=node.key, ins=ins, partitions_def=node.partitions_def)(_nothing))
            else:
                checks += [_empty_check(spec, node.partitions_def) for spec in node.check_specs]
        jobs.append(dg.define_asset_job(job, selection=[node.key for node in nodes if node.keys]))
    resources = {"io_manager": _empty_io_manager()}
    return dg.Definitions(
        assets=assets, asset_checks=checks, jobs=jobs, resources=resources, executor=dg.in_process_executor
    )


def _nothing(**inputs: int) -> int:
    return len(inputs)


def _empty_input(node: Any, key: Any) -> Any:
    import dagster as dg

    return dg.AssetIn(key, partition_mapping=node.get_partition_mapping(key))


def _empty_check(spec: Any, partitions: Any) -> Any:
    import dagster as dg

    @dg.asset_check(asset=spec.asset_key, name=spec.name, blocking=spec.blocking, partitions_def=partitions)
    def empty(rows: int) -> Any:
        return dg.AssetCheckResult(passed=True)

    return empty


def _empty_io_manager() -> Any:
    import dagster as dg

    class Nowhere(dg.IOManager):
        def handle_output(self, context: Any, obj: Any) -> None:
            return None

        def load_input(self, context: Any) -> int:
            return 0

    return Nowhere()


def trivial_world(copies: Path) -> Any:
    """Seven assets in a chain, and an instance that has seen them once."""
    import dagster as dg

    folder = Path(tempfile.mkdtemp(dir=copies))
    shutil.copy(CHECKOUT / "dagster.yaml", folder)
    os.environ["DAGSTER_HOME"] = str(folder)
    assets: list[Any] = []
    for number in range(TRIVIAL):
        ins = {"rows": dg.AssetIn(f"a{number - 1}")} if number else {}
        assets.append(dg.asset(key=f"a{number}", ins=ins)(_nothing))
    definitions = dg.Definitions(
        assets=assets,
        jobs=[dg.define_asset_job("trivial")],
        resources={"io_manager": _empty_io_manager()},
        executor=dg.in_process_executor,
    )
    world = SimpleNamespace(folder=folder, definitions=definitions)
    run_trivial(world)
    return world


def run_trivial(world: Any) -> str:
    from workbench_pipelines.launching import QUIET, dagster_instance

    with dagster_instance(world.folder) as instance:
        result = world.definitions.resolve_job_def("trivial").execute_in_process(run_config=QUIET, instance=instance)
    return f"{len(result.get_asset_materialization_events())} assets"


def print_overhead(lifecycle: list[Figures], trivial: Figures) -> None:
    """What the runs take over their bodies, an asset and check, beside what Dagster takes for a trivial asset."""
    bodies, runs, empty = (one.median("wall") for one in lifecycle)
    assets, checks = (int(part.split()[0]) for part in lifecycle[1].runs[0].witness.split(", "))
    unit = trivial.median("wall") / TRIVIAL
    print(f"\noverhead of {assets} assets and {checks} checks, in units of one trivial asset ({unit * 1000:.0f} ms)")
    for name, over in (("runs over bodies", runs - bodies), ("same graph, empty bodies", empty)):
        each, of_assets = over / (assets + checks) / unit, over / assets / unit
        print(f"{name:<34}{over:>9.3f} s{each:>8.2f}x an asset or check{of_assets:>8.2f}x an asset")
    print(f"runs over bodies / same graph with empty bodies: {(runs - bodies) / empty:.2f}x  aim <= {AIM:g}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--project", type=Path, help="where to make the project, or where it was made before")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made = (given.project or Path(temporary) / "made").resolve()
        if not made.exists():
            make_project(made)
        world = functools.partial(prepared, made, Path(temporary))
        empty = functools.partial(prepared_empty, made, Path(temporary))
        sides = [
            Side("bodies", call_bodies, world, str),
            Side("runs", launch_runs, world, str),
            Side("same graph, empty bodies", lambda world: launch_runs(world, world.empty), empty, str),
        ]
        figures = compare(sides, given.rounds)
        print_table("the lifecycle of the starter sheets, every answer in the store", figures)
        unit = Side(f"{TRIVIAL} trivial assets", run_trivial, functools.partial(trivial_world, Path(temporary)), str)
        (trivial,) = compare([unit], given.rounds)
        print_table("the unit: a run in this process, SQLite", [trivial])
        print_overhead(figures, trivial)


if __name__ == "__main__":
    main()
