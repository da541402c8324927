"""The recognisers of personal data: what they find in labelled texts, how that stands in the docs, and what they take for none."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.personal_data import KINDS, PATTERN_KINDS
from workbench_pipelines.personal_data_patterns import is_kvnr, is_mastercard, is_nhs, is_npi, is_ssn
from workbench_pipelines_tests.personal_data_sentences import labelled, wilson
from workbench_pipelines_tests.toxicity_sentences import TECHNICAL

DOCS = Path(__file__).parent.parent / "docs" / "personal_data.md"


def found(text: str) -> list[tuple[str, str]]:
    pytest.importorskip("presidio_analyzer")
    from workbench_pipelines.clients.personal_data import spans_in

    return [(one.kind, text[one.start : one.end]) for one in spans_in(pl.Series([text])).get(text, [])]


@pytest.mark.parametrize(
    ("holds", "right", "wrong"),
    [
        (is_npi, "1234567893", "1234567890"),  # the example of CMS
        (is_npi, "1245-319-599", "3234567893"),
        (is_kvnr, "A000500015", "A000500016"),  # the example of the GKV-Spitzenverband
        (is_nhs, "943 476 5919", "943 476 5918"),  # the example of the NHS Data Dictionary
        (is_ssn, "123-45-6789", "666-45-6789"),
        (is_ssn, "899451234", "900451234"),
        (is_mastercard, "2223 0031 2200 3222", "2223 0031 2200 3223"),
    ],
)
def test_check_digits_are_those_that_were_published(holds, right: str, wrong: str) -> None:
    assert holds(right)
    assert not holds(wrong)


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("MRN: 00123456", [("MRN", "00123456")]),
        ('{"patientId":"P-7739201"}', [("MRN", "P-7739201")]),
        ("the patient was 12345 days old", []),
        ("Member ID\n  XYZ123456789", [("INSURANCE_ID", "XYZ123456789")]),
        ("policy changes of 2024-2025", []),
        ("1EG4-TE5-MK73", [("US_MBI", "1EG4-TE5-MK73")]),
        ("1SG4-TE5-MK73", []),
        ("NPI 1234567890", []),
        ("order 1234567893", []),
        ("born 3 March 1980 in Lyon", [("DATE_OF_BIRTH", "3 March 1980")]),
        ("seen on 03/04/1980", []),
        ("version 1.2.3.4 and v10.0.0.1", []),
        ("to=ann@example.org", [("EMAIL_ADDRESS", "ann@example.org")]),
        ("ann@example.invalidtld", []),
        ("Email", []),
    ],
)
def test_a_number_is_personal_by_its_form_or_by_the_words_before_it(text: str, spans: list[tuple[str, str]]) -> None:
    assert found(text) == spans


def test_a_value_far_into_a_text_is_found_in_its_place() -> None:
    begin = "The pump stops by itself. " * 4000
    assert found(f"{begin}SSN 123-45-6789.") == [("US_SSN", "123-45-6789")]
    at = 19_995  # across the end of a window
    assert found("x" * at + " SSN 123-45-6789") == [("US_SSN", "123-45-6789")]


def test_technical_sentences_hold_none() -> None:
    assert [text for text in TECHNICAL if found(text)] == []


def test_the_labelled_texts_are_enough_of_every_kind_and_of_none() -> None:
    texts = list(labelled())
    kinds = [kind for one in texts for kind, _, _ in one.spans]
    assert len(kinds) >= 300
    assert set(kinds) == set(KINDS)
    assert sum(not one.spans for one in texts) >= 300
    halves = {half: {re.sub(r"\d", "#", one.text) for one in texts if one.half == half} for half in ("dev", "held_out")}
    assert not halves["dev"] & halves["held_out"]


def test_the_docs_say_what_is_measured_on_the_half_that_nothing_was_tuned_on() -> None:
    pytest.importorskip("presidio_analyzer")
    from benchmarks.personal_data import measured, table

    counts, _ = measured("held_out")
    assert set(counts) == {*PATTERN_KINDS, "KNOWN_VALUE"}
    text = DOCS.read_text(encoding="utf-8")
    for line in table(counts):
        assert line in text


def test_an_interval_is_wilsons() -> None:
    assert [round(one, 4) for one in wilson(9, 10)] == [
        0.9,
        0.5958,
        0.9821,
    ]  # Brown, Cai and DasGupta 2001, formula (4)
