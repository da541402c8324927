"""Proofs, recall and erasure over an export of 100,000 pairs: what a proof, its check, a recall and an erasure take.

    python benchmarks/proof.py [--pairs 100000] [--proofs 1000]

The pairs stand in one export and in the lake, with their labels, a model that learned them, and a request each; every hundredth
prompt shows one example. What is timed is what a long-lived process would do; the commands of the command line take the start of
Python on top. Each figure is the median, and the 95th percentile where there are many. No peer does this.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import polars as pl

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.erasing import erase_item
from workbench_pipelines.lineage import lineage_row
from workbench_pipelines.pair_proofs import ProofMaker, proof_problems
from workbench_pipelines.recalling import recall, seeds_of_annotator, seeds_of_item
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DOCUMENTS = """
apiVersion: workbench/v1
kind: Sheet
metadata: {name: s}
spec: {primary_table: data/s.csv, item_ref: key}
---
apiVersion: workbench/v1
kind: TrainingSheet
metadata: {name: drafted}
spec: {sheet: s, template: q}
---
apiVersion: workbench/v1
kind: Collection
metadata: {name: c}
spec: {members: [{training_sheet: drafted}]}
"""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1000, result


def show(name: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    print(f"{name:<52}{statistics.median(ordered):>10.3f} ms{p95:>10.3f} ms  ({len(ordered)} times)")


def plant(folder: Path, count: int) -> Workbench:
    """A project whose lake holds so many pairs, exported once."""
    from workbench_pipelines.decisions import DECISIONS
    from workbench_pipelines.examples import KEPT_EXAMPLES
    from workbench_pipelines.export_manifest import manifest
    from workbench_pipelines.exports import version_row
    from workbench_pipelines.identity import canonical_label_id
    from workbench_pipelines.labels import CANONICAL_LABELS
    from workbench_pipelines.requests import REQUEST_USES, REQUESTS
    from workbench_pipelines.stated_policies import sheet_policy
    from workbench_pipelines_tests.export_world import frame_of, make_collection, make_export
    from workbench_pipelines_tests.recall_world import drafted, rendered

    (folder / "sheets").mkdir()
    (folder / "templates").mkdir()
    (folder / "sheets/all.yaml").write_text(DOCUMENTS)
    workbench = Workbench(settings_from({"WORKBENCH_PROJECT": str(folder), "WORKBENCH_USER": "bench"}))
    lake = workbench.lake
    refs = [f"i-{at}" for at in range(count)]
    label = [canonical_label_id("s", ref, "t") for ref in refs]
    texts = [f"what only {ref} says, and nobody else does, of this very matter" for ref in refs]
    lake.append("data", "sheet_snapshot", "s", frame=pl.DataFrame({"item_ref": refs, "text": texts}))
    catalog = workbench.catalog()
    policies = [sheet_policy(catalog.sheet("s"), catalog.tag_policies())]
    pairs = [
        drafted(ref, shows=("ex-0",) if at % 100 == 1 else (), canonical_label_id=label[at], policies=policies)
        for at, ref in enumerate(refs)
    ]
    frame = frame_of(*pairs)
    lake.append("label", "labeled_pairs", frame=frame, partition_by="training_sheet")
    lake.append("generate", "rendered_prompts", frame=rendered(pairs), partition_by="training_sheet")
    of_items = [{"sheet": "s", "item_ref": ref, "label_type": "t"} for ref in refs]
    labels = [{**one, "canonical_label_id": label[at]} for at, one in enumerate(of_items)]
    lake.append("label", "canonical_labels", frame=pl.DataFrame(labels, schema=CANONICAL_LABELS), partition_by="sheet")
    said = [
        {**one, "decision_id": str(at), "action": "label", "by": f"person-{at % 50}", "at": NOON}
        for at, one in enumerate(of_items)
    ]
    lake.append("label", "decisions", frame=pl.DataFrame(said, schema=DECISIONS), partition_by="sheet")
    kept = [{"example_id": "ex-0", "store": "d", "sheet": "s", "item_ref": "i-0", "canonical_label_id": label[0]}]
    lake.append("records", "examples", frame=pl.DataFrame(kept, schema=KEPT_EXAMPLES), partition_by="store")
    uses = [
        {"request_hash": f"h{at}", "training_sheet": "drafted", "pair_id": p} for at, p in enumerate(frame["pair_id"])
    ]
    lake.append("records", "request_uses", frame=pl.DataFrame(uses, schema=REQUEST_USES))
    answers = [{"answer_id": f"h{at}", "request_hash": f"h{at}", "cost_usd": 0.001} for at in range(count)]
    lake.append("records", "requests", frame=pl.DataFrame(answers, schema=REQUESTS))
    collection = make_collection("drafted")
    export = make_export(*pairs, collection=collection).numbered(1)
    versions = {"label/labeled_pairs": lake.version("label", "labeled_pairs")}
    made = manifest(export, collection, 1, training_sheet_versions={}, policy_hash="p", delta_versions=versions)
    done = ExportFolder(lake.uri).publish("c", 1, export, formats=["parquet"], manifest=made, card="# c")
    row = version_row(export, collection, 1, path=done.path, manifest_sha256=done.manifest_sha256, created_at=NOON)
    lake.append("records", "export_versions", frame=row)
    lineage = lineage_row(
        model_name="c.fast",
        model_version="1",
        collection="c",
        export_version=1,
        pairs=export.rows,
        training_config={},
        mlflow_run_id="r",
        trained_at=NOON,
        created_by="bench",
    )
    lake.append("records", "model_training_lineage", frame=lineage)
    return workbench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--proofs", type=int, default=1_000)
    asked = parser.parse_args()
    import orjson

    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        workbench = plant(Path(scratch), asked.pairs)
        folder = ExportFolder(workbench.lake.uri).path("c", 1)
        said = orjson.loads((folder / "manifest.json").read_bytes())
        made = [timed(lambda: ProofMaker(ExportFolder.leaves(folder), said)) for _ in range(3)]
        maker: ProofMaker = made[0][1]
        rows = ExportFolder.leaves(folder)["pair_id"].sample(asked.proofs, with_replacement=True, seed=1).to_list()
        there = [timed(lambda one=one: maker.prove(one)) for one in rows]
        absent = [timed(lambda at=at: maker.prove(f"{at:064x}")) for at in range(asked.proofs)]
        checks = [timed(lambda one=one: proof_problems(one, said["merkle_root"])) for _, one in (*there, *absent)]
        assert not any(problems for _, problems in checks)
        print(f"\n{asked.pairs:,} pairs{'':<40}{'median':>13}{'p95':>13}")
        show("reading the export and making its tree", [one for one, _ in made])
        show("a proof that a pair is there", [one for one, _ in there])
        show("a proof that a pair is not there", [one for one, _ in absent])
        show("checking a proof", [one for one, _ in checks])
        print(f"{'a proof as JSON':<52}{len(orjson.dumps(absent[0][1])):>10,} bytes")
        for name, seeds in (("item i-0", seeds_of_item), ("person-1", seeds_of_annotator)):
            key = "s/i-0" if name.startswith("item") else name
            runs = [timed(lambda key=key, seeds=seeds: recall(workbench, key, seeds(workbench, key))) for _ in range(5)]
            found = runs[0][1]
            show(f"recall of {name}: {found.pairs.height:,} pairs", [one for one, _ in runs])
        took, erased = timed(lambda: erase_item(workbench, "s/i-0", reason="bench"))
        assert not erased.hits
        assert [one["superseded_by"] for one in erased.exports] == [2], erased.exports
        show(f"erasing it from {len(erased.tables)} tables and one export, with the search", [took])


if __name__ == "__main__":
    main()
