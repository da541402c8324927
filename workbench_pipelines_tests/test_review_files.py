"""Reviews in files: what goes out, what people may do to it, and what comes back."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path

import openpyxl
import pytest

from workbench_pipelines.clients.review_files import read_review_file, write_review_file
from workbench_pipelines.review_rows import choices_of, columns_of, read_rows, row_of
from workbench_pipelines.review_tasks import Asked, ReviewTask
from workbench_pipelines.spreadsheet_text import CELL_LIMIT
from workbench_pipelines_tests.back_end_world import ReviewDesk, Row, ask_two, decide, edit
from workbench_pipelines_tests.page_world import SECRET, planted
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import error_lines, one_line

__all__ = ["planted"]

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
FORMATS = ("jsonl", "csv", "xlsx")


@pytest.fixture
def desk(planted: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewDesk:
    return ReviewDesk(planted, tmp_path, monkeypatch)


ALL_FIVE = decide(
    r0="approve",
    r1={"decision": "edit", "answer__team": "billing", "notes": "=it says so", "confidence": "medium"},
    r2={"decision": "reject", "reason": "no ticket"},
    r3={"decision": "flag", "reason": "ask legal"},
    r4="skip",
)


@pytest.mark.parametrize("kind", FORMATS)
def test_decisions_of_a_file_come_into_the_ledger_and_the_file_again_changes_nothing(
    desk: ReviewDesk, kind: str
) -> None:
    file = desk.export(f"review.{kind}")
    edit(file, ALL_FIVE)
    ran = desk.take(file, "--json")
    assert (ran.code, ran.json["decisions"], ran.json["undecided"], ran.json["refused"]) == (0, 4, 8, [])
    said = sorted((action, answer, by) for _, action, answer, by in desk.ledger())
    edited = ("edit", '{"team":"billing"}', "bob")
    assert said == [("approve", None, "bob"), edited, ("flag", None, "bob"), ("reject", None, "bob")]
    rows = desk.project.workbench.decisions().to_dicts()
    assert {row["proposed_response"] for row in rows} == {'{"team":"other"}'}
    (edited_row,) = [row for row in rows if row["action"] == "edit"]
    assert (edited_row["notes"], edited_row["confidence"]) == ("=it says so", "medium")
    assert {tuple(row["seen_columns"]) for row in rows} == {("subject",)}
    inbox = desk.project.workbench.lake.read("records", "review_inbox")
    assert inbox["back_end"].unique().to_list() == ["files"]

    again = desk.take(file, "--json").json
    assert (again["decisions"], again["repeated"]) == (0, 4)
    assert len(desk.ledger()) == 4
    # What was decided waits for nobody; the flagged one waits for a second look elsewhere.
    ran = desk.project("review", "export", "drafted", str(desk.folder / "next.jsonl"), "--json")
    assert ran.json["rows"] == 8


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_may_be_sorted_deleted_and_columns_added(desk: ReviewDesk, kind: str) -> None:
    file = desk.export(f"review.{kind}")

    def change(rows: list[Row]) -> list[Row]:
        for row in rows:
            row["decision"] = "approve"
        return [{"my own": "=1+1", **row} for row in reversed(rows[:7])]

    assert desk.take(edit(file, change), "--json").json["decisions"] == 7


@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_cell_that_is_only_shown_is_noticed_and_named_and_the_other_rows_are_taken(
    desk: ReviewDesk, kind: str
) -> None:
    file = desk.export(f"review.{kind}")

    def change(rows: list[Row]) -> None:
        decide(**{f"r{n}": "approve" for n in range(5)})(rows)
        rows[0]["proposed_answer"] = '{"team":"billing"}'
        rows[1]["input.subject"] = "something else"
        rows[2]["item_ref"] = rows[3]["item_ref"]
        rows[3]["pair_id"] = rows[4]["pair_id"]

    ran = desk.take(edit(file, change), "--json")
    assert (ran.code, ran.json["decisions"]) == (1, 1)
    unit = "line" if kind == "jsonl" else "row"
    first = 1 if kind == "jsonl" else 2
    named = [line.split(" was changed")[0] for line in ran.json["refused"]]
    columns = ("proposed_answer", "input.subject", "item_ref", "pair_id")
    assert named == [f"review.{kind} {unit} {first + n}: column {column}" for n, column in enumerate(columns)]
    kept = desk.project.workbench.lake.read("records", "review_refusals")
    assert (kept.height, set(kept["back_end"])) == (4, {"files"})
    assert desk.take(file).code == 1
    assert desk.project.workbench.lake.read("records", "review_refusals").height == 4


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"decision": "aprove"}, "column decision: none of approve, edit, reject, flag, skip"),
        ({"answer__team": "billing"}, "column decision is empty, and answer.team is filled; say edit"),
        ({"decision": "approve", "answer__team": "billing"}, "another answer is an edit"),
        ({"decision": "edit"}, "every answer column is empty"),
        ({"decision": "edit", "answer__team": "nobody"}, "column answer.team is none of access, billing, other"),
        ({"decision": "edit", "answer__team": "(none)"}, "label_data: the answer lacks team"),
        ({"decision": "approve", "confidence": "very"}, "column confidence: none of high, medium, low"),
        ({"decision": "approve", "decided_at": "yesterday"}, "column decided_at is no time"),
        ({"decision": "approve", "decided_at": "2999-01-01"}, "column decided_at lies in the future"),
        ({"decision": "approve", "checks": "{}"}, "column checks was changed"),
    ],
)
def test_a_bad_row_is_refused_with_file_row_and_column(desk: ReviewDesk, cells: Row, reason: str) -> None:
    file = edit(desk.export(), decide(r0=cells, r1="approve"))
    ran = desk.take(file, "--json")
    assert (ran.code, ran.json["decisions"]) == (1, 1)
    (line,) = ran.json["refused"]
    assert line.startswith("review.csv row 2: ")
    assert reason in line


def test_whoever_may_not_approve_is_refused_and_taken_once_they_may(desk: ReviewDesk) -> None:
    file = edit(
        desk.export("review.csv", "--for", "ann"),
        decide(r0="approve", r1={"decision": "edit", "answer__team": "billing"}),
    )
    ran = desk.take(file, "--by", "ann", "--json")
    assert ran.json["decisions"] == 1
    assert "ann may not approve" in ran.json["refused"][0]
    definitions = desk.project.folder / "sheets/all.yaml"
    definitions.write_text(definitions.read_text().replace("approvers:\n  - bob", "approvers:\n  - ann\n  - bob"))
    assert desk.take(file, "--by", "ann", "--json").json == {
        "ok": True,
        "decisions": 1,
        "repeated": 1,
        "undecided": 10,
        "refused": [],
    }


def test_another_decision_at_the_same_time_is_refused_and_taken_with_a_time_of_its_own(desk: ReviewDesk) -> None:
    file = edit(desk.export(), decide(r0="approve"))
    assert desk.take(file).code == 0
    edit(file, decide(r0={"decision": "reject", "reason": "no ticket"}))
    ran = desk.take(file)
    assert "what was delivered before says something else of it at the same time" in error_lines(ran)[0]
    edit(file, decide(r0={"decided_at": "2026-11-21T10:00:00"}))
    edit(file, lambda rows: [*rows, {**rows[0], "decision": "flag"}])
    ran = desk.take(file, "--json")
    assert len(ran.json["refused"]) == 2  # one row contradicts the other
    edit(file, lambda rows: rows[:-1])
    assert desk.take(file, "--json").json["decisions"] == 1


def test_what_is_restricted_is_in_no_file_of_whoever_may_not_see_it(desk: ReviewDesk) -> None:
    for who, rows in (("bob", 0), ("eve", 12)):
        file = desk.folder / f"{who}.jsonl"
        ran = desk.project("review", "export", "closed", str(file), "--for", who)
        assert ran.out == f"{rows} rows in {file}\n"
        assert (SECRET in file.read_text()) == bool(rows)
        if not rows:
            assert one_line(ran) == "12 left out: they show what is restricted, and bob may not see it"
    ran = desk.project(
        "review", "export", "tickets", str(desk.folder / "items.csv"), "--task", "team", "--for", "nobody"
    )
    assert "nobody may not label" in ran.err
    ran = desk.project("review", "export", "tickets", str(desk.folder / "items.csv"), "--task", "team", "--json")
    assert (ran.code, SECRET in (desk.folder / "items.csv").read_text()) == (0, False)


@pytest.mark.parametrize("kind", FORMATS)
def test_items_are_labeled_before_there_is_a_pair(desk: ReviewDesk, kind: str) -> None:
    file = desk.export(f"items.{kind}", "--task", "team", "--limit", "4", name="tickets")
    edit(file, decide(r0={"decision": "label", "answer__team": "access"}, r1="skip"))
    assert desk.take(file, "--json").json["decisions"] == 1
    assert [row[1:] for row in desk.ledger()] == [("label", '{"team":"access"}', "bob")]
    assert desk.project("review", "export", "tickets", str(file), "--task", "team", "--json").json["rows"] == 11


def test_the_workbook_offers_lists_and_protects_what_is_only_shown(desk: ReviewDesk) -> None:
    book = openpyxl.load_workbook(desk.export("review.xlsx"))
    sheet = book["review"]
    names = {cell.value: cell.column_letter for cell in sheet[1]}
    assert sheet.protection.sheet
    for name, letter in names.items():
        is_open = name in ("decision", "answer.team", "notes", "reason", "confidence", "decided_at")
        assert sheet[f"{letter}2"].protection.locked != is_open, name
        assert sheet[f"{letter}2"].number_format == "@"
    lists = {str(one.sqref): one.formula1 for one in sheet.data_validations.dataValidation}
    assert set(lists) == {f"{names[name]}2:{names[name]}13" for name in ("decision", "confidence", "answer.team")}
    offered = {column[0].value: [cell.value for cell in column if cell.value] for column in book["choices"].columns}
    assert offered["approve"] == ["approve", "edit", "reject", "flag", "skip"]
    assert offered["access"] == ["access", "billing", "other"]
    assert all(cell.data_type in ("s", "n") and cell.data_type != "f" for row in sheet.iter_rows() for cell in row)
    assert sheet.column_dimensions[names["training_sheet"]].hidden


@pytest.mark.parametrize(
    ("separator", "ends", "encoding"), [(";", "\r\n", "utf-8-sig"), ("\t", "\n", "utf-16"), (",", "\r\n", "utf-8")]
)
def test_csv_is_read_as_programs_save_it(desk: ReviewDesk, separator: str, ends: str, encoding: str) -> None:
    file = desk.export()
    rows = list(csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline="")))
    rows[1][rows[0].index("decision")] = "approve"
    rows[2][rows[0].index("notes")] = "two\nlines"
    rows[2][rows[0].index("decision")] = "Approve "
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=ends).writerows(rows)
    file.write_bytes(out.getvalue().encode(encoding))
    assert desk.take(file, "--json").json["decisions"] == 2
    assert "two\nlines" in desk.project.workbench.decisions()["notes"].to_list()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"\xff\xfeab\xff", "a.csv"),
        ("a.csv", "decision,größe\n".encode("latin-1"), "is no UTF-8 (byte 12)"),
        ("a.csv", b"", "no column decision"),
        ("a.csv", b"decision,decision\napprove,approve\n", "column decision stands there twice"),
        ("a.xlsx", b"nothing", "can not be read as XLSX"),
        ("a.txt", b"", "files are jsonl, csv, xlsx"),
    ],
)
def test_a_file_that_is_none_is_one_line(desk: ReviewDesk, name: str, content: bytes, reason: str) -> None:
    (desk.folder / name).write_bytes(content)
    ran = desk.take(desk.folder / name)
    assert ran.code == 2
    assert reason in one_line(ran)


def test_lines_that_are_no_row_are_refused_alone(desk: ReviewDesk) -> None:
    file = edit(desk.export("review.jsonl"), decide(r0="approve"))
    file.write_text(file.read_text() + '[1]\n{"decision": "approve"}\n{"half')
    ran = desk.take(file, "--json")
    assert ran.json["decisions"] == 1
    reasons = [line.partition(": ")[2] for line in ran.json["refused"]]
    assert reasons == [
        "is no JSON object",
        "column item_ref is missing; it stands in every file that was exported",
        "is no JSON (Unterminated string starting at)",
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_odd_texts_come_back_as_they_were(tmp_path: Path, kind: str) -> None:
    texts = [
        "007",
        "9223372036854775808",
        "2024-01-05",
        "=1+1",
        "-x",
        "@a",
        "\tb",
        "\rc",
        "a\nb",
        "'q",
        "_x0041_",
        "\x01",
        "\ufffe",
    ]
    texts += ["😀", " sp ", "x" * 100_000, "😀" * 20_000 + "=x", 'quote " and ;=x', "\u2028", "NULL", "1e5"]
    rows = [{"decision": "", "text": text, "next": "n"} for text in texts]
    file = tmp_path / f"odd.{kind}"
    write_review_file(
        file, kind, ["decision", "text", "next"], rows, fills=["decision"], choices={"decision": ["approve"]}
    )
    read = [row for _, row in read_review_file(file, kind)]
    assert [(row["text"], row["next"]) for row in read] == [(text, "n") for text in texts]  # type: ignore[index]
    if kind == "xlsx":
        cells = [cell for row in openpyxl.load_workbook(file)["review"].iter_rows() for cell in row]
        assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
        assert max(len(str(cell.value or "").encode("utf-16-le")) // 2 for cell in cells) <= CELL_LIMIT


def test_an_answer_of_every_kind_is_read_from_cells() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "B", 3]},
            "sure": {"type": "boolean"},
            "count": {"type": "integer"},
            "weight": {"type": "number"},
            "day": {"type": "string", "format": "date"},
            "code": {"type": "string"},
            "parts": {"type": "array"},
            "extra": {"type": "string"},
        },
        "required": ["kind"],
    }
    task = ReviewTask("s", "007", "t", {"x": "=1"}, ("x",), "h", pair_id="p", response='{"kind":"a","extra":"e"}')
    asked = Asked([task], 0, "t", schema)
    row = row_of(task, columns_of(asked), NOW)
    assert choices_of(asked)["answer.sure"] == ["yes", "no", "(none)"]
    said = {"kind": "3", "sure": "TRUE", "count": "5", "weight": "2.5", "day": "2026-03-01 00:00:00", "code": "007"}
    said |= {"parts": '[{"a": 1}]', "extra": "(none)"}
    filled = row | {f"answer.{name}": text for name, text in said.items()} | {"decision": "edit"}
    read = read_rows([("row 2", filled)], schema_of=lambda _: schema, by="ann", now=NOW)
    assert read.refusals == []
    assert read.judgements[0][1]["label_data"] == {
        "kind": 3, "sure": True, "count": 5, "weight": 2.5, "day": "2026-03-01", "code": "007", "parts": [{"a": 1}]
    }  # fmt: skip
    for field, text, why in (
        ("count", "5.5", "is no whole number"),
        ("weight", "3,5", "is no number"),
        ("parts", "[", "is no JSON"),
    ):
        wrong = read_rows(
            [("row 2", filled | {f"answer.{field}": text})], schema_of=lambda _: schema, by="ann", now=NOW
        )
        assert wrong.refusals[0].line == f"row 2: column answer.{field} {why}"


def test_an_export_that_fails_leaves_the_file_before_it(desk: ReviewDesk) -> None:
    file = desk.export()
    before = file.read_bytes()
    assert desk.project("review", "export", "nothing", str(file)).code == 2
    assert desk.project("review", "export", "drafted", str(file), "--needs", "flag").code == 2
    assert desk.project("review", "export", "drafted", str(desk.folder / "none/a.csv")).code == 2
    assert file.read_bytes() == before
    assert [path.name for path in desk.folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_for_whoever_answers_on_their_own_says_nothing_of_what_others_said(desk: ReviewDesk) -> None:
    ask_two(desk)
    file = desk.export("bob.jsonl")
    edit(file, decide(r0={"decision": "edit", "answer__team": "billing", "notes": "looks like billing to me"}))
    assert desk.take(file).code == 0
    assert len(desk.export("bob.jsonl").read_text().splitlines()) == 11
    rows = [json.loads(line) for line in desk.export("ann.jsonl", "--for", "ann").read_text().splitlines()]
    assert len(rows) == 12
    assert {row["proposed_answer"] for row in rows} == {'{"team":"other"}'}
    assert "looks like" not in json.dumps(rows)
