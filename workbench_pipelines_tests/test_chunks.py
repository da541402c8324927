"""A text is cut where its layout allows it, nothing is lost on the way, and a chunk is named for what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog.variety import ChunksSpec
from workbench_pipelines.chunks import Chunk, count_tokens, cut, measure_of
from workbench_pipelines.derivation import Derivation
from workbench_pipelines.prompts import Rendered, render_prompts
from workbench_pipelines.templates import compile_template
from workbench_pipelines_tests.definition_world import make_snapshot, make_template, make_training_sheet

TABLE = "| drug | dose |\n|---|---|\n" + "".join(f"| drug {n} | {n} mg |\n" for n in range(30))
MANUAL = f"""Before any heading.

# Doses

Give what the table says. Ask where it says nothing.

{TABLE}
## Children

- half of it
- never at night

```python
x = 1

# no heading
```

# Storage
## Cold
Keep it cold.
"""
BLOCKS = st.sampled_from(
    [
        "# A",
        "## B",
        "Words that stand here. And more.",
        "- one\n- two",
        "```\ncode\n\n# x\n```",
        TABLE,
        "ähm ö",
        "\r\nx",
        "",
    ]
)


def chunks(text: str, **spec: Any) -> list[Chunk]:
    return cut(text, ChunksSpec.model_validate({"column": "x", **spec}))


def test_blocks_stay_whole_and_know_their_headings() -> None:
    found = chunks(MANUAL, size=1000)
    assert [one.heading for one in found] == ["", "Doses", "Doses > Children", "Storage > Cold"]
    assert [one.section for one in found] == ["", "1", "1.1", "2.1"]
    assert TABLE.strip() in found[1].text
    assert "# no heading" in found[2].text
    assert found[3].text == "# Storage\n## Cold\nKeep it cold."


def test_a_table_that_is_too_long_is_cut_between_rows_under_its_head() -> None:
    pieces = [one for one in chunks(MANUAL, size=120) if "mg" in one.text]
    assert len(pieces) > 3
    assert all(one.text.startswith("| drug | dose |\n|---|---|\n") and len(one.text) <= 120 for one in pieces)
    rows = [line for one in pieces for line in one.text.splitlines() if "mg" in line]
    assert rows == [line for line in TABLE.splitlines() if "mg" in line]


@settings(deadline=None)
@given(st.lists(BLOCKS, max_size=8), st.integers(20, 200), st.sampled_from(["characters", "tokens"]), st.booleans())
def test_nothing_but_headings_and_space_is_lost_and_chunks_fit(
    blocks: list[str], size: int, unit: str, plain: bool
) -> None:
    text = "\n\n".join(blocks)
    found = chunks(text, size=size, unit=unit, layout="plain" if plain else "markdown")
    covered: set[int] = set()
    for one in found:
        assert one.text.endswith(text[one.start : one.end])
        assert not covered.intersection(range(one.start, one.end))
        covered.update(range(one.start, one.end))
        # The head and one row of a table are never cut.
        assert measure_of(unit)(one.text) <= max(size, 50)
    lost = [line for line in _lines(text) if line.strip() and not covered.intersection(range(*_span(text, line)))]
    assert all(line.lstrip().startswith("#") for line in lost)


def _lines(text: str) -> list[str]:
    return text.splitlines()


def _span(text: str, line: str) -> tuple[int, int]:
    start = text.index(line)
    return start, start + len(line)


def test_the_overlap_repeats_whole_sentences_of_the_section_and_counts_within_the_size() -> None:
    text = "One is here. Two is here. Three is here. Four is here. Five is here."
    found = chunks(text, size=44, overlap=15)
    assert [one.text for one in found] == [
        "One is here. Two is here.",
        "Two is here. Three is here. Four is here.",
        "Four is here. Five is here.",
    ]
    assert "".join(text[one.start : one.end] for one in found).replace(" ", "") == text.replace(" ", "")


def test_tokens_are_counted_rather_more_than_fewer() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    del tiktoken
    assert count_tokens("The invoice of 2026-05-01 amounts to 1,204.50 EUR.") >= 18  # what o200k makes of it
    assert count_tokens("発注書") == 3


def rendered(text: str, **spec: Any) -> Rendered:
    template = make_template("{{ heading }}: {{ body }}")
    training_sheet = make_training_sheet(chunks={"column": "body", "size": 200, **spec})
    snapshot = make_snapshot({"a": {"body": text}, "b": {"body": ""}, "c": {"body": "Short."}})
    return render_prompts(training_sheet, template, compile_template(template, {}, "t"), snapshot, where="s")


def test_each_chunk_is_an_item_with_its_place_and_an_empty_text_is_refused() -> None:
    found = rendered(MANUAL)
    rows = [row for row in found.frame.to_dicts() if row["parent_ids"] == ["a"]]
    assert len(rows) > 4
    assert {row["item_ref"].partition("#")[0] for row in rows} == {"a"}
    assert all(row["derivation"][0]["name"] == "chunk" for row in rows)
    assert any("Keep it cold." in row["messages"][0]["content"] for row in rows)
    assert found.refusals.select("item_ref", "reason").rows() == [("b", "nothing_to_cut")]
    # Titles stay out of what is shown where the text is not.
    assert "Children" not in "".join(row["derivation"][0]["params"] + row["attributes"] for row in rows)


def test_a_paragraph_more_leaves_the_other_chunks_as_they_are() -> None:
    before = rendered(MANUAL).frame.select("item_ref", "seen_hash", "prompt_hash")
    after = rendered(
        f"One more paragraph, with a sentence in it.\n\n# Zero\n\nNew.\n\n{MANUAL.partition('.')[2]}"
    ).frame
    kept = before.join(after, on=["item_ref", "seen_hash", "prompt_hash"])
    assert kept.height == before.height - 1  # the paragraph that changed


def test_text_that_is_said_twice_makes_two_items() -> None:
    training_sheet = make_training_sheet(chunks={"column": "body", "size": 20, "layout": "plain"})
    refs = [one.item_ref for one in Derivation(training_sheet.spec).of({"item_ref": "a", "body": "Same.\n\n" * 8})]
    assert len(refs) == len(set(refs)) > 2
