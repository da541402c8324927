"""What people wrote of an item is looked for, and what others say as well is not; an erasure done again changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.erasing import Erased, erase_item
from workbench_pipelines.erasing_pending import pending_folder, pending_of
from workbench_pipelines.erasure import REASON_ERASED
from workbench_pipelines.feedback import FEEDBACK, FEEDBACK_INBOX
from workbench_pipelines.lineage import USAGE_CONSTRAINT_AUDIT
from workbench_pipelines.restrictions import MASK
from workbench_pipelines_tests.export_world import frame_of
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.recall_world import LABEL_A, NOON, Planted, drafted, pairs_then, plant, rendered

__all__ = ["project"]

REASON = "Mr Quillfeather asked us on the phone never to use his letter"
NOTE = "his daughter wrote it down for him"
EDITED = "the ladder in the orchard broke under him"
COMMENT = "it took the neighbour for the patient"
BOILERPLATE = "Dear colleagues, thank you for sending this patient to our clinic, whom we saw today in good spirits. "
LETTER = BOILERPLATE + "He fell off a ladder while he was picking quinces with his daughter."
SHARED = "is a letter like any other one"


def letters(project: Project, *more: str) -> None:
    """The snapshot of the Sheet `s`: every letter begins alike, and `a` says something of its own."""
    refs = ["a", *"bcdef"]
    texts = [
        LETTER,
        *(f"{BOILERPLATE}Number {ref} was well, and went home with no complaint at all." for ref in "bcdef"),
    ]
    kinds = [SHARED] * len(refs)
    rows = pl.DataFrame({"item_ref": refs, "letter": texts, "kind": kinds, "ward": ["x"] * 6, "age": [61] * 6})
    project.workbench.lake.append("data", "sheet_snapshot", "s", frame=rows)


def written(planted: Planted) -> None:
    """What two people and a user of a model wrote of `a`, and one of them of `b` what was said of both."""
    lake = planted.project.workbench.lake
    of = {"sheet": "s", "label_type": "t", "at": NOON}
    uses = identity.canonical_text({"prohibited_uses": ["training"], "usage_reason": REASON})
    decisions = [
        {**of, "decision_id": "10", "item_ref": "a", "action": "restrict", "by": "ann", "reason": REASON, "uses": uses},
        {**of, "decision_id": "11", "item_ref": "a", "action": "edit", "by": "bob", "notes": NOTE, "reason": "no"}
        | {
            "label_data": identity.canonical_text({"answer": EDITED, "score": 3}),
            "pair_id": planted.names["drafted/a"],
        },
        {**of, "decision_id": "12", "item_ref": "b", "action": "flag", "by": "bob", "reason": "please look once more"},
        {**of, "decision_id": "13", "item_ref": "a", "action": "flag", "by": "bob", "reason": "please look once more"},
    ]
    lake.append("label", "decisions", frame=pl.DataFrame(decisions, schema=DECISIONS), partition_by="sheet")
    inbox = {"day": "2026-03-01", "feedback_id": "f-1", "feedback_type": "comment", "feedback_value": COMMENT}
    lake.append("monitor", "feedback_inbox", frame=pl.DataFrame([inbox], schema=FEEDBACK_INBOX))
    matched = {**inbox, "sheet": "s", "item_ref": "a", "status": "recorded"}
    lake.append("monitor", "feedback", frame=pl.DataFrame([matched], schema=FEEDBACK))
    audit = [
        {"subject": f"label {LABEL_A}", "new_prohibited_uses": ["training"], "new_data_classification": "restricted"}
        | {"reason": REASON, "by": "ann", "at": NOON},
        {"subject": "policy PHI", "new_prohibited_uses": ["training"], "reason": "by law", "by": "eve", "at": NOON},
        {"subject": "sheet s", "new_allowed_uses": [], "reason": f"since {REASON}", "by": "eve", "at": NOON},
    ]
    lake.append("records", "usage_constraint_audit", frame=pl.DataFrame(audit, schema=USAGE_CONSTRAINT_AUDIT))


@pytest.fixture
def planted(project: Project) -> Planted:
    found = plant(project)
    letters(project)
    # Since then no prompt of the test split shows what is trained on: what is left can be exported.
    now = [drafted("f") if one["item_ref"] == "f" else one for one in pairs_then(())]
    keys = ["drafted", "known"]
    lake = project.workbench.lake
    lake.replace_partition("label", "labeled_pairs", frame=frame_of(*now), partition_by="training_sheet", keys=keys)
    lake.append("generate", "rendered_prompts", frame=rendered(now), partition_by="training_sheet")
    written(found)
    return found


def erase(project: Project) -> Erased:
    return erase_item(project.workbench, "s/a", reason="asked for it")


def versions(project: Project) -> list[int]:
    return sorted(project.table("records", "export_versions")["version"])


def test_what_people_wrote_of_an_item_is_looked_for_and_found(planted: Planted) -> None:
    project = planted.project
    log = project.settings.state / "review.log"
    log.write_text(f"ann: {REASON}\nbob: {NOTE} / {EDITED}\nuser: {json.dumps(COMMENT)}\nother: stays\n")
    done = erase(project)
    assert done.hits == []
    assert log.read_text().splitlines()[-1] == "other: stays"
    assert find_texts([project.settings.state], [REASON, NOTE, EDITED, COMMENT]) == []
    assert project.table("monitor", "feedback_inbox").is_empty()
    left = {(one.field, one.reason): one.values for one in done.not_searched}
    assert left["label/decisions.reason", "held by other items as well"] == 1
    assert left["label/decisions.reason", "too short"] == 1
    assert left["label/decisions.label_data", "no text"] == 1
    assert left["s.kind", "held by other items as well"] == 1
    assert left["s.ward", "too short"] == 1
    assert left["s.age", "no text"] == 1


def test_what_was_not_searched_is_said_and_never_shown(planted: Planted) -> None:
    project = planted.project
    shown = project("erase", "s/a", "--reason", "r", "--dry-run")
    assert "not searched for: 1 of s.kind: held by other items as well" in shown.out
    done = project("erase", "s/a", "--reason", "r", "--yes", "--json")
    assert done.code == 0, done.err
    assert {"field": "s.ward", "reason": "too short", "values": 1} in done.json["not_searched"]
    for text in (REASON, NOTE, EDITED, COMMENT, LETTER, SHARED, "please look"):
        assert text not in shown.out + shown.err + done.out + done.err


def test_what_a_text_has_in_common_with_others_is_no_hit_and_no_reason_for_another_export(planted: Planted) -> None:
    project = planted.project
    folder = project.settings.state / "notes"
    folder.mkdir()
    (folder / "b.txt").write_text(BOILERPLATE)  # of nobody
    (folder / "a.txt").write_text(f"so: {LETTER[90:150]} …")
    done = erase(project)
    assert done.hits == []
    assert (folder / "b.txt").read_text() == BOILERPLATE
    assert "ladder" not in (folder / "a.txt").read_text()
    made = versions(project)
    assert made == [1, 2, 3]
    assert {one["version"]: one["superseded_by"] for one in done.exports} == {1: 3, 2: 3}
    again = erase(project)
    assert (again.hits, again.tables, again.exports, versions(project)) == ([], [], [], made)
    assert project.table("data", "sheet_snapshot", "s").height == 5


@pytest.mark.parametrize("step", ["supersede", "holding_files", "search"])
def test_an_erasure_that_was_killed_goes_on_with_the_same_numbers_and_exports(
    planted: Planted, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = planted.project
    torn = project.settings.state / "kept.bin"
    torn.write_bytes(b"\xff" + REASON.encode())  # nothing that is rewritten

    def killed(*given: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"workbench_pipelines.erasing.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            erase(project)
    (file,) = pending_folder(project.workbench).iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    numbers = {one["text"]: one["number"] for one in json.loads(file.read_bytes())["texts"]}
    done = erase(project)
    assert done.hits == [f"{torn}: text {numbers[REASON]}, of label/decisions.uses (bytes)"]
    assert versions(project) == [1, 2, 3]
    kept = file.read_text()
    assert REASON in kept  # it lies in that file anyway, and is still to be found there
    assert not [text for text in (NOTE, EDITED, COMMENT, LETTER[100:]) if text in kept]
    assert erase(project).hits == done.hits
    torn.unlink()
    last = erase(project)
    assert (last.hits, last.searched, versions(project)) == ([], 1, [1, 2, 3])
    assert "an earlier try found it nowhere, and what it says was not kept" in {one.reason for one in last.not_searched}
    assert not file.exists()


def test_the_audit_says_who_marked_an_erased_item_and_no_longer_why(planted: Planted) -> None:
    project = planted.project
    asked = ("sql", "--query", "who_marked_this", "--param", "this=a", "--json")
    before = project(*asked).json
    done = erase(project)
    assert {one.table: one.rows for one in done.tables}["records/usage_constraint_audit"] == 2
    (row,) = project(*asked).json
    assert len(before) == 1
    # Why, was masked before as well: its Sheet states nothing, and is restricted.
    assert (row["subject"], row["by"], row["reason"]) == (f"label {LABEL_A}", "ann", MASK)
    assert (row["new_prohibited_uses"], row["new_data_classification"]) == (["training"], "restricted")
    audit = project.table("records", "usage_constraint_audit").sort("subject")
    assert audit["reason"].to_list() == [REASON_ERASED, "by law", REASON_ERASED]
    assert audit["by"].to_list() == ["ann", "eve", "eve"]
    changed = project("sql", "--query", "when_classification_changed", "--param", "this=a", "--json").json
    assert [one["new_data_classification"] for one in changed] == ["restricted"]


def test_recall_says_what_was_erased_of_what_it_is_asked_for(planted: Planted) -> None:
    project = planted.project
    erase(project)
    (day,) = project.table("records", "erasures")["at"].dt.date().cast(pl.String)
    erased = [{"day": day, "items": 1}]
    for asked in (("--annotator", "ann"), ("--label", LABEL_A), ("--source", "s"), ("--item", "s/a")):
        found = project("recall", *asked, "--json")
        assert found.json["erased"] == erased, asked
        assert f"1 of the items was erased on {day}" in project("recall", *asked).out
    assert project("recall", "--item", "s/b", "--json").json["erased"] == []
    assert project("recall", "--annotator", "nobody").code == 2


def test_a_reason_to_erase_that_speaks_of_the_item_goes_and_the_item_stays_erased(planted: Planted) -> None:
    project = planted.project
    assert erase_item(project.workbench, "s/a", reason=f"since {REASON}").hits == []
    (row,) = project.table("records", "erasures").to_dicts()
    assert (row["reason"], row["people"], row["labels"]) == (REASON_ERASED, ["ann", "bob"], [LABEL_A])


def test_a_file_that_no_erasure_wrote_is_named(planted: Planted) -> None:
    file = pending_of(planted.project.workbench, "s", "a").file
    file.parent.mkdir()
    file.write_text('{"erasing": {}}')
    ran = planted.project("erase", "s/a", "--reason", "r", "--yes")
    assert (ran.code, "is not what an erasure wrote down for itself" in ran.err) == (2, True)


def tombstone(folder: Path, **given: Any) -> None:
    said = json.loads((folder / "erased.json").read_bytes()) | given
    (folder / "erased.json").write_text(json.dumps(said))


def test_a_tombstone_is_taken_only_where_it_fits_and_the_lake_knows_of_it(planted: Planted, tmp_path: Path) -> None:
    project = planted.project
    exports = Path(project.table("records", "export_versions").sort("version")["path"][0]).parent
    first, second = exports / "v1", exports / "v2"
    (second / "erased.json").write_text('{"erased": true, "superseded_by": 3}')
    ran = project("verify", str(second), "--json")
    assert (ran.code, ran.json["erasure_on_record"]) == (1, None)
    assert "is no tombstone of this export" in ran.json["problems"][0]
    (second / "erased.json").unlink()
    assert project("verify", str(second)).code == 0
    erase(project)
    ran = project("verify", str(first), "--json")
    assert (ran.code, ran.json["erasure_on_record"]) == (1, True)
    assert ran.json["problems"] == ["superseded by erasure: an item that it held was erased; v3 takes its place"]
    # From v1 on v3, whose files somebody took away: it fits offline, and the lake knows better.
    third = exports / "v3"
    from workbench_pipelines.clients.export_tombstone import tombstone_of

    planted_one = tombstone_of(third, None)
    for file in third.iterdir():
        if file.name != "manifest.json":
            file.unlink()
    (third / "erased.json").write_bytes(planted_one)
    ran = project("verify", str(third), "--json")
    assert (ran.code, ran.json["erasure_on_record"]) == (1, False)
    assert "is on no record" in ran.json["problems"][-1]
    recalled = project("recall", "--item", "s/b", "--json")
    assert (recalled.code, "c v3" in recalled.json["unread"][0]) == (1, True)
    for changed in (
        {"superseded_by": 1},
        {"merkle_root": "0" * 64},
        {"files": []},
        {"version": 2},
        {"collection": "x"},
    ):
        kept = (first / "erased.json").read_bytes()
        tombstone(first, **changed)
        ran = project("verify", str(first))
        assert ran.code == 1
        assert "superseded by erasure" not in ran.err
        assert "is no tombstone of this export" in ran.err
        (first / "erased.json").write_bytes(kept)


def test_an_erased_export_that_was_put_back_is_no_good_export(planted: Planted, tmp_path: Path) -> None:
    import shutil

    project = planted.project
    folder = Path(project.table("records", "export_versions").sort("version")["path"][0])
    shutil.copytree(folder, tmp_path / "kept")
    erase(project)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)
    ran = project("verify", str(folder))
    assert ran.code == 1
    assert "took the files of the export away" in ran.err
