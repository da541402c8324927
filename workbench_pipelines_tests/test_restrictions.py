"""What is not known to be open is restricted."""

from __future__ import annotations

import pytest

from workbench_pipelines.catalog import ProjectFile, load_catalog
from workbench_pipelines.restrictions import Restrictions, mask_of, restrictions_of

PUBLIC = "usage: {data_classification: public}"
OTHER = "name: other, path: other.csv, join_keys: [a]"
BROKEN_POLICY = "kind: UsagePolicy\nmetadata: {name: p}\nspec: {}"
MISSPELT_POLICY = """
apiVersion: workbench/v1
kind: UsagePolicy
metadata: {name: p}
spec: {tags: {A: {data_classification: pubic}}}
"""


def restrictions(spec: str, *others: str) -> frozenset[str] | None:
    sheet = f"""apiVersion: workbench/v1
kind: Sheet
metadata: {{name: iris}}
spec: {{primary_table: iris.csv, item_ref: flower, {spec}}}
"""
    return restrictions_of(load_catalog([ProjectFile("a.yaml", "\n---\n".join([sheet, *others]))])).sheets["iris"]


@pytest.mark.parametrize(
    ("spec", "hidden"),
    [
        (PUBLIC, frozenset()),
        (f"{PUBLIC}, columns: {{a: {{tags: [PHI]}}, b: {{tags: [CONFIDENTIAL]}}}}", frozenset({"a"})),
        (f"{PUBLIC}, columns: {{a: {{tags: [NOBODY_KNOWS]}}}}", frozenset({"a"})),
        (f"{PUBLIC}, source_tags: [NO_TRAIN]", frozenset()),
    ],
)
def test_restricted_columns_are_the_ones_with_a_restricted_or_unknown_tag(spec: str, hidden: frozenset[str]) -> None:
    assert restrictions(spec) == hidden


@pytest.mark.parametrize(
    "spec",
    [
        "usage: {data_classification: restricted}",
        "usage: {data_classification: pubic}",
        "usage: {}",
        f"{PUBLIC}, source_tags: [PHI]",
        "usage: {data_classification: public, rows: [{when: a > 1, tags: [PHI]}]}",
        f"{PUBLIC}, secondary_sources: [{{{OTHER}, source_tags: [PHI]}}]",
        f"{PUBLIC}, secondary_sources: [{{{OTHER}, usage: {{data_classification: restricted}}}}]",
        f"{PUBLIC}, colums: {{}}",
    ],
)  # fmt: skip
def test_a_sheet_is_restricted_as_a_whole_by_whatever_may_reach_any_of_its_columns(spec: str) -> None:
    assert restrictions(spec) is None


@pytest.mark.parametrize("policy", [BROKEN_POLICY, MISSPELT_POLICY])
def test_under_a_broken_policy_every_sheet_is_restricted(policy: str) -> None:
    assert restrictions(PUBLIC, policy) is None


def test_a_table_of_figures_has_nothing_to_mask() -> None:
    closed = Restrictions({"iris": None})
    assert mask_of("eval_report", ["collection", "metric", "value"], closed).columns == frozenset()
    assert mask_of("requests", ["request_hash", "answer"], closed).columns == {"answer"}


def test_the_snapshot_of_an_unknown_sheet_hides_all_of_its_source() -> None:
    mask = mask_of("iris", ["item_ref", "item_hash", "length"], Restrictions({}), snapshot_of="iris")
    assert mask.columns == {"length"}
    assert mask.all_rows
