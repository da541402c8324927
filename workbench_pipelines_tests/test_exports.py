"""From the pairs of a Collection to the rows that may be used, and what an export says of itself."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
import yaml

from workbench_pipelines import identity
from workbench_pipelines.errors import ExportError, NothingApproved
from workbench_pipelines.export_manifest import card, manifest, manifest_bytes, policies_hash, read_manifest, sealed
from workbench_pipelines.exports import (
    COLLECTION_MEMBERS,
    EXPORT_VERSIONS,
    GOVERNED_EXPORT,
    Export,
    export_identity,
    member_rows,
    next_version,
    prepare_export,
    version_row,
)  # fmt: skip
from workbench_pipelines.usage import USES, UsageStatement, effective_use
from workbench_pipelines_tests.export_world import (
    EVERY_SPLIT,
    NO_LEDGER,
    frame_of,
    make_collection,
    make_export,
    make_pair,
    many_pairs,
)  # fmt: skip

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SHOWN_PHI = UsageStatement(
    "tag PHI on column patient_name", prohibited_uses=("training", "few_shot"), columns=("patient_name",),
    data_classification="restricted", reason="health data of a person",
)  # fmt: skip
SHEET = UsageStatement("sheet medical_invoices", allowed_uses=USES, data_classification="confidential")
ONLY_TRAIN = {"train": 1.0, "val": 0.0, "test": 0.0}


def manifest_of(export: Export, **spec: Any) -> dict[str, Any]:
    return manifest(export, make_collection(**spec), 1, training_sheet_versions={"ts": 3}, policy_hash="p")


def test_manifest_and_card_say_how_many_pairs_hold_role_tokens() -> None:
    turns = [[{"role": "user", "content": text, "parts": None}] for text in ("<tool_call>", "### Response:", "a </s>")]
    pairs = [make_pair(f"i{at}", messages=messages) for at, messages in enumerate(turns)]
    spec = {"formats": ["openai", "alpaca", "hf", "dpo"]}
    export = make_export(*many_pairs(5), *pairs)
    made_of = manifest_of(export, **spec)
    assert made_of["role_tokens"] == 3
    text = card(export, make_collection(**spec), made_of)
    assert (
        "(`<|im_start|>`, `[INST]`, `### Response:`): 3. In alpaca, dpo they are made plain. In parquet, hf, openai"
        in text
    )
    # Of an export from before they were counted nothing is said.
    del made_of["role_tokens"]
    assert "Role tokens" not in card(export, make_collection(**spec), made_of)
    clean = make_export(*many_pairs(5))
    assert manifest_of(clean)["role_tokens"] == 0
    assert "Role tokens" not in card(clean, make_collection(), manifest_of(clean))


def test_one_invoice_trains_where_the_prompt_hides_the_patient_and_not_where_it_shows_him() -> None:
    def invoice_pair(training_sheet: str, *shown: str) -> dict[str, Any]:
        effective = effective_use([one for one in (SHEET, SHOWN_PHI) if one.counts_for(shown)])
        return make_pair(
            "inv-1",
            training_sheet,
            allowed_uses=list(effective.allowed_uses),
            prohibited_uses=list(effective.prohibited_uses),
            usage_reason=effective.reason,
            data_classification=effective.data_classification,
        )

    department = invoice_pair("invoices_department", "procedure_codes", "total_amount")
    extraction = invoice_pair("invoices_extraction", "patient_name", "document_text")
    collection = make_collection("invoices_department", "invoices_extraction", splits=ONLY_TRAIN)
    export = make_export(department, extraction, collection=collection)
    assert export.rows["training_sheet"].to_list() == ["invoices_department"]
    (excluded,) = export.exclusions.to_dicts()
    assert (excluded["pair_id"], excluded["item_ref"]) == (extraction["pair_id"], "inv-1")
    assert excluded["gate"] == "permitted"
    assert excluded["reason"] == (
        "train needs training: tag PHI on column patient_name prohibits training: health data of a person"
    )
    assert export.data_classification == "confidential"


def test_rows_are_those_of_the_governed_export_sorted_by_pair() -> None:
    export = make_export(*many_pairs())
    assert export.rows.schema == GOVERNED_EXPORT
    assert export.rows["pair_id"].is_sorted()
    assert export.rows["export_version"].null_count() == export.rows.height
    assert set(export.numbered(4).rows["export_version"]) == {4}


def test_every_pair_is_exported_or_excluded_and_counted() -> None:
    export = make_export(*many_pairs(), *many_pairs(5, status="rejected", training_sheet="other"),
                         collection=make_collection("ts", "other"))  # fmt: skip
    assert export.counts["pairs"] == 45
    assert export.counts["approved"] == sum(export.counts[split] for split in EVERY_SPLIT) == 40
    assert export.counts["excluded"] == export.exclusions.height == 5
    assert set(export.exclusions["pair_id"]).isdisjoint(export.rows["pair_id"])


def test_weights_and_splits_are_those_of_the_membership() -> None:
    collection = make_collection("ts", {"training_sheet": "gold", "weight": 2.5, "split": "test"})
    export = make_export(make_pair("a"), make_pair("b", "gold"), collection=collection)
    gold = export.rows.filter(pl.col("training_sheet") == "gold").row(0, named=True)
    assert (gold["weight"], gold["split"]) == (2.5, "test")


def test_unapproved_items_are_assigned_too_so_that_a_late_approval_moves_nobody() -> None:
    pairs = many_pairs()
    early = make_export(pairs[0], *({**pair, "status": "unlabeled"} for pair in pairs[1:]))
    late = make_export(*pairs, ledger=early.new_assignments)
    assert late.new_assignments.is_empty()
    assert late.merkle_root == make_export(*pairs).merkle_root


def test_nothing_approved_says_how_many_wait_for_whom() -> None:
    pairs = [make_pair(str(at), "a", status="unlabeled") for at in range(3)]
    pairs += [make_pair("x", "b", status="flagged"), make_pair("y", "b", status="rejected")]
    waits_for = {"a": ["team:billing"], "b": ["ann", "bob"]}
    with pytest.raises(NothingApproved) as waiting:
        prepare_export(make_collection("a", "b"), frame_of(*pairs), NO_LEDGER, USES, waits_for=waits_for)
    assert waiting.value.exit_code == 5
    assert waiting.value.line == (
        "Collection c: 0 of 5 pairs approved; 3 pairs of a wait for team:billing, 1 pairs of b wait for ann or bob"
    )


def test_approved_pairs_without_permission_are_an_error_with_the_witness() -> None:
    refused = [make_pair(str(at), allowed_uses=[], usage_reason="sheet s does not allow training") for at in range(4)]
    with pytest.raises(ExportError) as failed:
        make_export(*refused, collection=make_collection(splits=ONLY_TRAIN))
    assert failed.value.line == (
        "Collection c: none of 4 approved pairs may be exported: 4 are not permitted, 0 are quarantined; "
        "most common: train needs training: sheet s does not allow training"
    )


def test_pairs_of_no_member_and_pairs_that_stand_twice_are_refused() -> None:
    with pytest.raises(ExportError, match="Collection c: pairs of stray, which is none of its members"):
        make_export(make_pair("a", "stray"))
    with pytest.raises(ExportError, match="Collection c: the pair of item a stands twice in ts"):
        make_export(make_pair("a"), make_pair("a"))


def test_the_order_of_pairs_changes_nothing() -> None:
    pairs = many_pairs()
    one, other = make_export(*pairs), make_export(*reversed(pairs))
    assert one.rows.equals(other.rows)
    assert manifest_bytes(sealed(manifest_of(one), {})) == manifest_bytes(sealed(manifest_of(other), {}))


def test_an_unchanged_export_makes_no_new_version() -> None:
    collection, export = make_collection(), make_export(*many_pairs())
    first = version_row(export, collection, 1, path="v1", manifest_sha256="m", created_at=NOON)
    assert first.schema == EXPORT_VERSIONS
    same = export_identity(make_export(*many_pairs(), make_pair("new", status="unlabeled")), collection)
    version, published = next_version(first, "c", same)
    assert (version, published and published["path"]) == (1, "v1")
    assert next_version(first, "other", same) == (1, None)


@pytest.mark.parametrize(
    "changed",
    [
        make_export(*many_pairs(41)),
        make_export(*many_pairs()[:-1], make_pair("item-39", answer="other")),
        make_export(*many_pairs()[:-1], make_pair("item-39", inputs='{"x":"unseen"}')),
        make_export(*many_pairs(), collection=make_collection({"training_sheet": "ts", "weight": 2.0})),
    ],
    ids=["a pair", "an answer", "an input", "a weight"],
)
def test_a_change_of_a_pair_its_inputs_or_its_weight_makes_a_new_version(changed: Export) -> None:
    collection = make_collection()
    first = version_row(
        make_export(*many_pairs()), collection, 1, path="v1", manifest_sha256="m", created_at=NOON
    )  # fmt: skip
    assert next_version(first, "c", export_identity(changed, collection)) == (2, None)


def test_formats_and_splits_are_part_of_the_identity() -> None:
    export = make_export(*many_pairs())
    identities = {
        export_identity(export, make_collection(**spec))
        for spec in ({}, {"formats": ["parquet"]}, {"splits": {"seed": 1}}, {"formats": ["parquet", "openai"]})
    }
    assert len(identities) == 3


def test_members_keep_who_added_them_and_when() -> None:
    first = member_rows(make_export(make_pair("a")), COLLECTION_MEMBERS.to_frame(), by="ann", at=NOON)
    assert first.schema == COLLECTION_MEMBERS
    later = member_rows(make_export(make_pair("a"), make_pair("b")), first, by="bob", at=NOON + dt.timedelta(days=1))
    assert sorted(later["added_by"]) == ["ann", "bob"]
    assert later.filter(pl.col("added_by") == "ann")["added_at"].to_list() == [NOON]


def test_the_manifest_says_what_the_export_was_made_of() -> None:
    export = make_export(*many_pairs())
    said = manifest_of(export, splits={"seed": 13})
    assert said["merkle_root"] == export.merkle_root
    (member,) = said["members"]
    assert member == {
        "training_sheet": "ts",
        "version": 3,
        "weight": 1.0,
        "split": None,
        "pairs": 40,
        "template_versions": {"q": ["1.0.0"]},
    }
    assert (said["seed"], said["formats"], said["policy_hash"]) == (13, ["openai", "parquet"], "p")
    assert said["counts"] == {split: export.counts[split] for split in EVERY_SPLIT}


def test_a_manifest_breaks_at_any_flipped_byte() -> None:
    content = manifest_bytes(
        sealed(manifest_of(make_export(*many_pairs())), {"a": {"sha256": "0", "bytes": 1, "rows": 1}})
    )
    assert read_manifest(content)["version"] == 1
    for at in range(0, len(content), 7):
        flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(ExportError, match=r"manifest\.json"):
            read_manifest(flipped)


def test_policies_have_one_hash_whatever_their_order() -> None:
    assert policies_hash(["p"], ["a", "b"]) == policies_hash(["p"], ["b", "a"]) != policies_hash(["q"], ["a", "b"])


def test_the_card_shows_counts_classes_and_exclusions_and_no_attribute() -> None:
    export = make_export(
        *many_pairs(attributes=identity.canonical_text({"ward": "oncology"})),
        make_pair("z", status="unlabeled", response=identity.canonical_text({"answer": "maybe"})),
        collection=make_collection(splits={"stratify_by": "ward"}),
    )
    text = card(export, make_collection(), manifest_of(export))
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["merkle_root"] == export.merkle_root
    files = yaml.safe_load(head)["configs"][0]["data_files"]
    assert {one["path"] for one in files} == {f"{split}.parquet" for split in EVERY_SPLIT}
    assert f"| train | {export.counts['train']} | 80% |" in body
    assert "| value | train | val | test |" in body
    assert "| approved | status is unlabeled: it waits for a person | 1 |" in body
    assert "maybe" not in text
    assert "oncology" not in text + str(manifest_of(export))


def test_the_card_of_a_restricted_export_and_of_free_text_shows_no_answer() -> None:
    restricted = make_export(*many_pairs(data_classification="restricted"))
    assert "Not shown: the export is restricted." in card(restricted, make_collection(), manifest_of(restricted))
    texts = make_export(*(make_pair(str(at), answer=f"patient {at} is well") for at in range(40)))
    assert "is well" not in card(texts, make_collection(), manifest_of(texts))


def test_another_try_with_a_newer_ledger_compares_no_texts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = many_pairs(12)
    export = make_export(*pairs)
    looked: list[int] = []
    monkeypatch.setattr("workbench_pipelines.splits.find_alike", lambda rows, threshold: looked.append(rows.height))
    again = prepare_export(make_collection(), frame_of(*pairs), export.new_assignments, USES, alike=export.alike)
    assert again.new_assignments.is_empty()
    assert again.rows.equals(export.rows)
    assert looked == []
