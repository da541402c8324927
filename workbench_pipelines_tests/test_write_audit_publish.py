"""Write, audit, publish: what fails its audit is not published, and a run that dies leaves the version before it as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from workbench_pipelines import exporting
from workbench_pipelines.clients.export_folder import AUDITED, ExportFolder
from workbench_pipelines.clients.export_pointer import POINTER, current_export
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_audit import audit_export
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.ground_truth import GroundTruth
from workbench_pipelines.tainting import EXPORT_TAINTS
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.publish_program import POINTS, publish
from workbench_pipelines_tests.push_world import Remote, s3_server
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    one_line,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

USES = {**USAGE, "allowed_uses": ["training", "evaluation"]}
SPLITS = {"train": 0.6, "val": 0, "test": 0.4}
NEAR = "one two three four five six seven eight nine ten eleven twelve"


def of_formats(project: Project, *formats: str) -> None:
    """The Collection with other formats: another version of the same pairs."""
    define(
        project,
        sheet(usage=USES),
        training_sheet("told", column="team"),
        training_sheet("again", column="team", template="anew"),
        template(),
        template("Of which team? {{ subject }}", name="anew", label_type="anew"),
        collection("routing", "told", "again", splits=SPLITS, formats=list(formats)),
    )


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project_at(tmp_path_factory.mktemp("product") / "project") as project:
        of_formats(project, "openai")
        put(project, tickets(30))
        ran = project("run", "told", "again")
        assert ran.code == 0, ran.err
        yield project


def product(project: Project) -> dict[str, Any]:
    """What the pointer says; the version that it names holds what it was published with."""
    said = current_export(ExportFolder(project.workbench.lake.uri), "routing")
    assert said is not None
    assert ExportFolder.verify(said["path"], said["manifest_sha256"]) == []
    rows = project.workbench.record("export_versions", EXPORT_VERSIONS).filter(pl.col("collection") == "routing")
    (row,) = rows.filter(pl.col("version") == said["version"]).to_dicts()
    assert [said[name] for name in ("merkle_root", "manifest_sha256")] == [row["merkle_root"], row["manifest_sha256"]]
    return said


def members(project: Project) -> list[str]:
    rows = project.table("records", "collection_members").filter(pl.col("collection") == "routing")
    return sorted(rows["pair_id"])


def test_the_pointer_names_the_version_that_is_the_product_and_commands_take_its_name(routed: Project) -> None:
    said = product(routed)
    folder = Path(said["path"])
    on_disk = orjson.loads((folder.parent / POINTER).read_bytes())
    assert (on_disk["collection"], on_disk["path"]) == ("routing", folder.name)
    assert routed("verify", "routing").code == 0
    lost = routed("verify", "rooting")
    assert lost.code == 2
    assert "neither the folder of an export nor a Collection that has one" in one_line(lost)


def test_a_run_that_is_killed_anywhere_leaves_one_whole_version_and_the_next_goes_on(routed: Project) -> None:
    for number, point in enumerate(POINTS):
        before, held = product(routed), members(routed)
        of_formats(routed, *(["openai", "csv"] if number % 2 == 0 else ["alpaca"]))
        command = [sys.executable, "-m", "workbench_pipelines_tests.publish_program", "routing", point]
        killed = subprocess.run(command, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
        assert (product(routed), members(routed)) == (before, held), point
        version = publish(routed.workbench, "routing")
        after = product(routed)
        assert (version, after["version"]) == (before["version"] + 1,) * 2, point
        assert members(routed) == held
        left = {path.name for path in Path(after["path"]).parent.iterdir()}
        assert not {name for name in left if name.startswith((".writing", f".{POINTER}"))}, point


def test_an_audit_that_fails_leaves_the_old_version_and_no_folder(
    routed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = product(routed)
    of_formats(routed, "gemini")
    with monkeypatch.context() as patch:
        held = GroundTruth(sheets={"tickets": "measures"})
        patch.setattr(exporting, "audit_export", lambda *of, **by: audit_export(*of, **{**by, "ground_truth": held}))
        with pytest.raises(ExportError, match="routing is not published, no_ground_truth_is_trained_on does not hold"):
            publish(routed.workbench, "routing")
    assert product(routed) == before
    versions = {path.name for path in Path(before["path"]).parent.iterdir() if path.is_dir()}
    assert versions == {f"v{number + 1}" for number in range(before["version"])}
    assert publish(routed.workbench, "routing") == before["version"] + 1


def forged(rows: pl.DataFrame, column: str, value: Any, places: int = 1) -> pl.DataFrame:
    """The rows with another value in the first places of train."""
    at = (pl.col("split") == "train") & ((pl.col("split") == "train").cum_sum() <= places)
    return rows.with_columns(pl.when(at).then(pl.lit(value)).otherwise(column).alias(column))


def test_every_blocking_check_is_part_of_the_audit(routed: Project) -> None:
    workbench = routed.workbench
    catalog = workbench.catalog()
    routing = catalog.collection("routing")
    folder = Path(product(routed)["path"])
    rows = pl.concat([pl.read_parquet(folder / f"{split}.parquet") for split in ("train", "val", "test")])
    written = rows.select(AUDITED).sort("pair_id")
    export: Any = None  # is asked for a suite of expectations alone
    table = ("label", "labeled_pairs")

    def refused(of: pl.DataFrame, truth: GroundTruth | None = None) -> str:
        commit = routed.workbench.lake.version(*table)
        try:
            audit_export(workbench, catalog, routing, export, of, commit=commit, ground_truth=truth or GroundTruth())
        except ExportError as error:
            return error.line.partition(", ")[2].partition(" ")[0]
        return ""

    assert refused(written) == ""
    assert refused(forged(written, "split", "val")) == "every_training_pair_permits_training"
    assert refused(forged(written, "pair_hash", "0" * 64)) == "every_exported_pair_is_approved"
    assert refused(forged(written, "split", "test")) == "no_item_appears_in_two_splits"
    said = orjson.dumps({"subject": NEAR}).decode()
    alike = forged(written, "inputs", said).with_columns(
        pl.when((pl.col("split") == "test") & ((pl.col("split") == "test").cum_sum() == 1))
        .then(pl.lit(said))
        .otherwise("inputs")
        .alias("inputs")
    )
    assert refused(alike) == "no_near_duplicate_crosses_splits"
    assert refused(written, GroundTruth(sheets={"tickets": "other"})) == "no_ground_truth_is_trained_on"
    before = workbench.lake.read(*table, partition={"training_sheet": ["told"]})
    commit = workbench.lake.version(*table)
    tighter = before.with_columns(prohibited_uses=pl.lit(["training"]))
    workbench.lake.replace_partition(*table, frame=tighter, partition_by="training_sheet", keys=["told"])
    with pytest.raises(ExportError, match=r"exports_are_not_tainted does not hold: .* pairs may not be used any more"):
        audit_export(workbench, catalog, routing, export, written, commit=commit, ground_truth=GroundTruth())
    workbench.lake.replace_partition(*table, frame=before, partition_by="training_sheet", keys=["told"])


def test_pairs_that_are_not_those_of_the_commit_are_not_exported(routed: Project) -> None:
    workbench = routed.workbench
    of_formats(routed, "chatml")
    pairs = workbench.lake.read("label", "labeled_pairs", partition={"training_sheet": ["told", "again"]})
    other = pairs.with_columns(attributes=pl.lit("{}"))
    with pytest.raises(ExportError, match="its pairs were written anew while it was exported; run it again"):
        exporting.publish_export(workbench, workbench.catalog().collection("routing"), other)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with s3_server() as remote:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", remote.url)
        yield remote


def test_only_what_is_released_and_untainted_is_pushed(
    routed: Project, s3: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_formats(routed, "openai", "parquet", "csv")
    version = publish(routed.workbench, "routing")

    def push(what: str = "routing") -> tuple[int, str]:
        ran = routed("push", what, "--to", "s3", "--uri", "s3://bucket")
        return ran.code, one_line(ran) if ran.code else ""

    def move(*statuses: str) -> None:
        for status, by in zip(statuses, ["ann", "bob", "bob"], strict=False):
            monkeypatch.setenv("WORKBENCH_USER", by)
            moved = routed("collection", "status", "routing", "--to", status, "--reason", "so it is")
            assert moved.code == 0, moved.err

    code, said = push()
    assert (code, f"routing v{version} is not pushed: it is draft" in said) == (1, True)
    assert s3.objects == {}
    move("in_review", "approved", "released")
    assert push() == (0, "")
    assert s3.objects
    taint = {"collection": "routing", "version": version, "pair_id": "p", "training_sheet": "told", "use": "training"}
    at = pl.lit(None).cast(EXPORT_TAINTS["at"])
    row = pl.DataFrame([taint]).with_columns(reason=pl.lit("PHI"), at=at, cleared_at=at)
    row = row.select([pl.col(name).cast(dtype) for name, dtype in EXPORT_TAINTS.items()])
    routed.workbench.lake.append("records", "export_taints", frame=row)
    code, said = push()
    assert (code, "is tainted" in said) == (1, True)
    move("deprecated")
    assert "it is deprecated, and what is released may leave" in push()[1]
    elsewhere = tmp_path / "copied"
    elsewhere.mkdir()
    manifest = orjson.loads((Path(product(routed)["path"]) / "manifest.json").read_bytes())
    (elsewhere / "manifest.json").write_bytes(orjson.dumps({**manifest, "version": 99}))
    assert push(str(elsewhere))[0] == 1
