"""A row's file is found inside its volume and nowhere else; what is in it is a column like any other, hashed and tagged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.extraction import Extraction
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.errors import DefinitionError, SourceError
from workbench_pipelines.planning import render_now
from workbench_pipelines.restrictions import MASK
from workbench_pipelines.sheets import Snapshot
from workbench_pipelines.usage import statements_from_json
from workbench_pipelines.volumes import is_hidden, leads_outside
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.file_world import make_pdf
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    one_line,
    provider,
    template,
    training_sheet,
)

__all__ = ["provider"]

VOLUME = {"name": "document", "type": "volume", "path": "files/invoices", "join_keys": ["pdf_name"], "extract": "text"}
SHEET: dict[str, Any] = {"primary_table": "data/invoices.csv", "item_ref": "invoice", "usage": USAGE}
CANARY = "CANARY-7f3a"


def invoices(project: Project, *names: str | None, files: dict[str, str | bytes], **volume: Any) -> None:
    """A Sheet of invoices 1, 2, ... whose rows name these files."""
    rows = [{"invoice": str(number), "pdf_name": name, "total": number} for number, name in enumerate(names, start=1)]
    project.write("sheets/data/invoices.csv", pl.DataFrame(rows, schema_overrides={"pdf_name": pl.String}).write_csv())
    folder = project.folder / "sheets/files/invoices"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    define_sheet(project, **volume)


def define_sheet(project: Project, spec: dict[str, Any] | None = None, mode: str = "manual", **volume: Any) -> None:
    given = {**SHEET, **(spec or {})}
    define(
        project,
        make_document("Sheet", "invoices", secondary_sources=[{**VOLUME, **volume}], **given),
        training_sheet("totals", sheet="invoices", template="totals", labeling_mode="manual"),
        training_sheet("read", sheet="invoices", template="read", labeling_mode=mode),
        template("Sum: {{ total }}", "totals"),
        template("Read: {{ document_text }}", "read", input_schema=[{"name": "document_text"}]),
    )


def taken(project: Project) -> Snapshot:
    workbench = project.workbench
    return workbench.read_snapshot(workbench.catalog().sheet("invoices"))


def column(project: Project, name: str) -> list[Any]:
    return taken(project).frame[name].to_list()


def test_the_text_of_a_file_stands_beside_its_digest_and_its_place(project: Project) -> None:
    files: dict[str, str | bytes] = {"a.pdf": make_pdf("ECG of the heart"), "2024/b.txt": "X-ray"}
    invoices(project, "a.pdf", "2024/b.txt", files=files)
    frame = taken(project).frame
    assert frame.columns[2:] == ["invoice", "pdf_name", "total", *(f"document_{x}" for x in ("text", "sha256", "path")),
                                 "row_tags", "usage_statements"]  # fmt: skip
    assert frame["document_text"].to_list() == ["ECG of the heart", "X-ray"]
    assert frame["document_path"].to_list() == ["sheets/files/invoices/a.pdf", "sheets/files/invoices/2024/b.txt"]
    assert frame["document_sha256"].str.len_chars().to_list() == [64, 64]


def test_without_an_extract_only_digest_and_place_are_columns(project: Project) -> None:
    invoices(project, "a.bin", files={"a.bin": b"\x00\xff"}, extract="none")
    assert [name for name in taken(project).frame.columns if name.startswith("document")] == [
        "document_sha256",
        "document_path",
    ]


def test_a_changed_file_changes_its_item_and_a_changed_text_what_was_shown(project: Project) -> None:
    def hashes() -> tuple[list[str], list[str]]:
        return column(project, "item_hash"), render_now(project.workbench, "read").frame["seen_hash"].to_list()

    invoices(project, "a.html", "b.html", files={"a.html": "<p>one</p>", "b.html": "<p>two</p>"})
    items, seen = hashes()
    file = project.folder / "sheets/files/invoices/a.html"
    file.write_text("<p> one</p>")
    assert [now == was for now, was in zip(hashes()[0], items, strict=True)] == [False, True]
    assert hashes()[1] == seen
    file.write_text("<p>1</p>")
    assert [now == was for now, was in zip(hashes()[1], seen, strict=True)] == [False, True]


@pytest.mark.parametrize(("how", "texts"), [("left", ["here", None, None, None]), ("inner", ["here"])])
def test_a_row_without_a_file_goes_on_or_falls_away_and_is_counted(
    project: Project, how: str, texts: list[str | None]
) -> None:
    invoices(project, "a.txt", "gone.txt", None, ".env", files={"a.txt": "here", ".env": "KEY=1"}, how=how)
    found = taken(project)
    assert found.frame["document_text"].to_list() == texts
    assert found.files == {"document": {"files": 1, "missing": 3, "refused": 0}}
    assert found.refusals.is_empty()


def test_a_file_that_can_not_be_read_keeps_its_row_and_its_reason(project: Project) -> None:
    invoices(
        project,
        "a.txt",
        "John Doe.pdf",
        "sub",
        files={"a.txt": "here", "John Doe.pdf": "no", "sub/x.txt": ""},
        how="inner",
    )
    (project.folder / "templates/all.yaml").unlink()
    define(project, make_document("Sheet", "invoices", **SHEET, secondary_sources=[{**VOLUME, "how": "inner"}]))
    ran = project("run", "invoices", "--json")
    assert ran.code == 0
    (made,) = [one for one in ran.json["partitions"] if one["asset"] == "data/sheet_snapshot"]
    assert (made["rows"], made["refused"]) == (3, 2)
    assert project.table("data", "sheet_snapshot_refusals").sort("item_ref").rows() == [
        ("invoices", "2", "broken_file", "document: the file does not begin as a PDF does"),
        ("invoices", "3", "not_a_file", "document: the name leads to a folder"),
    ]
    said = "Sheet invoices: 1 items without what is in their file, broken_file: item 2: document: the file does not"
    assert said in "".join(ran.json["refusals"])
    (row,) = project("sql", "select reason from sheet_snapshot_refusals where item_ref = '3'", "--json").json
    assert row == {"reason": "not_a_file"}


# Escapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../../canary.txt",
        "sub/../../canary.txt",
        "{canary}",
        "file://{canary}",
        "file:{canary}",
        "FILE:///canary.txt",
        "s3://bucket/canary.txt",
        "C:/canary.txt",
        "..\\canary.txt",
        "link.txt",
        "folder/canary.txt",
        "chain.txt",
        "zero",
        "pipe",
    ],
)
def test_a_name_that_leads_outside_is_one_line_and_nothing_is_read(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text(CANARY)
    invoices(project, "a.txt", name.format(canary=canary), files={"a.txt": "here"})
    folder = project.folder / "sheets/files/invoices"
    (folder / "link.txt").symlink_to(canary)
    (folder / "folder").symlink_to(tmp_path)
    (folder / "chain.txt").symlink_to(folder / "link.txt")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    monkeypatch.setattr(
        Extraction, "digest", lambda self, file: "0" * 64 if file.name == "a.txt" else pytest.fail(name)
    )
    with pytest.raises(SourceError) as refused:
        taken(project)
    assert refused.value.line == (
        "sheets/all.yaml: Sheet invoices: spec.secondary_sources.document: 1 row has a name in 'pdf_name' that leads out of "
        "files/invoices or to no file (row 2); a name is the path of a file below that folder"
    )


def test_a_null_byte_leads_outside_and_a_link_inside_the_volume_does_not(project: Project) -> None:
    assert leads_outside("a\0.txt")
    assert is_hidden("a/.git/config")
    invoices(project, "b.txt", files={"a.txt": "here"})
    (project.folder / "sheets/files/invoices/b.txt").symlink_to("a.txt")
    assert column(project, "document_text") == ["here"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("files/invoces", "there is no such file; did you mean 'invoices'?"),
        ("data/invoices.csv", "a volume is a folder, and this is a file"),
        ("s3://bucket/files", "a volume is a folder on this machine; files at an address are not read yet"),
        ("../../..", "leads outside the project and WORKBENCH_ROOTS"),
    ],
)
def test_a_volume_that_is_none_is_named_before_anything_is_read(project: Project, path: str, line: str) -> None:
    invoices(project, "a.txt", files={"a.txt": "here"}, path=path)
    said = one_line(project("validate"))
    assert "Sheet invoices: spec.secondary_sources.document" in said
    assert line in said
    with pytest.raises(DefinitionError, match=r"secondary_sources\.document"):
        taken(project)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"join_keys": ["pdf_name", "total"]}, "a volume has one join key"),
        ({"allow_fan_out": True}, "a row finds one file at most"),
        ({"type": "table"}, "`extract` says what is taken out of the files of a volume"),
        ({"extract": "txt"}, "spec.secondary_sources.0.extract"),
        ({"join_keys": ["pdf_nam"]}, "the rows so far has no column 'pdf_nam'; did you mean 'pdf_name'?"),
        ({"name": "pdf", "extract": "text"}, "the column 'pdf_path' stands in the row already"),
    ],
)
def test_a_source_that_says_what_does_not_hold_is_one_line(project: Project, given: dict[str, Any], line: str) -> None:
    invoices(project, "a.txt", files={"a.txt": "here"}, **given)
    if given.get("name") == "pdf":
        project.write("sheets/data/invoices.csv", "invoice,pdf_name,pdf_path,total,document_text\n1,a.txt,x,1,y\n")
    assert line in project("validate").err


def test_a_volume_below_a_root_is_named_without_the_machines_folders(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "a.txt").write_text("here")
    project.environ["WORKBENCH_ROOTS"] = str(root)
    invoices(project, "a.txt", files={}, path=str(root))
    assert taken(project).frame.select("document_text", "document_path").rows() == [("here", "shared/a.txt")]


# Only what is needed -----------------------------------------------------------------------------------------------


def opened(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that a snapshot opens."""
    seen: list[str] = []
    really = Extraction.digest
    monkeypatch.setattr(Extraction, "digest", lambda self, file: seen.append(file.name) or really(self, file))  # type: ignore[func-returns-value]
    taken(project)
    return seen


@pytest.mark.parametrize(
    ("spec", "volume", "names"),
    [
        ({}, {}, ["a.txt", "b.txt", "c.txt"]),
        ({"filter_condition": "total > 1"}, {}, ["b.txt", "c.txt"]),
        ({"sample": {"size": 1, "method": "head"}}, {}, ["a.txt"]),
        ({"filter_condition": "document_text LIKE '%x%'"}, {}, ["a.txt", "b.txt", "c.txt"]),
        ({"filter_condition": "total > 1"}, {"how": "inner"}, ["a.txt", "b.txt", "c.txt"]),
        ({"sample": {"size": 1, "method": "stratified", "by": "document_sha256"}}, {}, ["a.txt", "b.txt", "c.txt"]),
    ],
)
def test_files_that_choose_no_items_are_opened_for_the_chosen_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], volume: dict[str, Any], names: list[str]
) -> None:
    invoices(project, "a.txt", "b.txt", "c.txt", files={"a.txt": "x", "b.txt": "y", "c.txt": "x"})
    define_sheet(project, spec, **volume)
    assert opened(project, monkeypatch) == names


def test_a_filter_reads_the_text(project: Project) -> None:
    invoices(project, "a.txt", "b.txt", "gone", files={"a.txt": "paid", "b.txt": "open"})
    define_sheet(project, {"filter_condition": "document_text LIKE '%open%'"})
    assert column(project, "item_ref") == ["2"]
    define_sheet(project, {"filter_condition": "document_text IS NULL"})
    assert column(project, "item_ref") == ["3"]


def test_another_table_may_be_joined_by_what_is_in_a_file(project: Project) -> None:
    invoices(project, "a.txt", files={"a.txt": "ward 7"})
    project.write("sheets/data/wards.csv", "document_text,house\nward 7,North\n")
    table = {"name": "wards", "path": "data/wards.csv", "join_keys": ["document_text"]}
    sources = [VOLUME, table]
    define(
        project,
        make_document(
            "Sheet", "invoices", primary_table="data/invoices.csv", item_ref="invoice", secondary_sources=sources
        ),
    )
    assert column(project, "house") == ["North"]


# Usage --------------------------------------------------------------------------------------------------------------


def statements(project: Project, item: str = "1") -> dict[str, list[str] | None]:
    """The columns that each statement of an item speaks of."""
    (text,) = taken(project).frame.filter(pl.col("item_ref") == item)["usage_statements"]
    return {one.source: one.columns and list(one.columns) for one in statements_from_json(text)}


def test_tags_and_statements_of_a_volume_count_where_its_columns_are_shown(project: Project) -> None:
    invoices(project, "a.txt", "b.txt", "gone", files={"a.txt": "secret", "b.txt": "open"})
    usage = {"allowed_uses": ["testing"], "rows": [{"when": "document_text = 'secret'", "tags": ["PHI"]}]}
    tags = {"document_text": {"tags": ["PII"]}, "pdf_name": {"tags": ["CONFIDENTIAL"]}}
    define_sheet(project, {"columns": tags}, usage=usage, source_tags=["NO_TRAIN"])
    own = ["document_text", "document_sha256", "document_path"]
    said = statements(project)
    assert said["source document"] == said["tag NO_TRAIN on source document"] == own
    assert said["tag PHI on source document by row rule 1"] == own
    # The path of a file says its name, and its digest the text to whoever can guess it.
    assert said["tag PII on column document_text"] == ["document_text", "document_sha256"]
    assert said["tag CONFIDENTIAL on column pdf_name"] == ["pdf_name", "document_path"]
    assert not any("by row rule" in source for item in "23" for source in statements(project, item))


def test_a_pair_that_shows_a_tagged_text_may_not_train_and_one_that_does_not_may(
    project: Project, provider: ScriptedProvider
) -> None:
    invoices(project, *(f"{n}.txt" for n in range(6)), files={f"{n}.txt": f"Secretname {n}" for n in range(6)})
    columns = {"document_text": {"tags": ["PHI"]}}
    project.write(
        "sheets/data/invoices.csv",
        "invoice,pdf_name,total,team\n" + "".join(f"{n},{n}.txt,{n},access\n" for n in range(6)),
    )
    answered = {"sheet": "invoices", "labeling_mode": "existing_column", "column": "team", "trusted": True}
    define(
        project,
        make_document("Sheet", "invoices", **SHEET, secondary_sources=[VOLUME], columns=columns),
        training_sheet("totals", **{**answered, "template": "totals"}),
        training_sheet("read", **{**answered, "template": "read"}),
        collection("both", "totals", "read", splits={"train": 1.0, "val": 0.0, "test": 0.0}),
        template("Sum: {{ total }}", "totals"),
        template("Read: {{ document_text }}", "read"),
    )
    (export,) = project("run", "both", "--json").json["exports"]
    assert (export["train"], export["excluded"]) == (6, 6)
    shown = [path.read_bytes() for path in Path(export["path"]).rglob("*") if path.is_file()]
    assert not any(b"Secretname" in data for data in shown)
    (row,) = project(
        "sql", "select document_text, document_sha256, document_path from sheet_snapshot_invoices limit 1", "--json"
    ).json
    assert (row["document_text"], row["document_sha256"]) == (MASK, MASK)
    assert row["document_path"].startswith("sheets/files/invoices/")


def test_a_draft_is_made_of_the_text_of_a_pdf(project: Project, provider: ScriptedProvider) -> None:
    invoices(project, "a.pdf", "gone.pdf", files={"a.pdf": make_pdf("Invoice 007 – Grüße")})
    define_sheet(project, mode="ai_generated")
    ran = project("run", "read", "--json")
    assert (ran.json["llm_calls"], provider.calls) == (1, 1)
    assert provider.bodies[0]["messages"][-1]["content"] == "Read: Invoice 007 – Grüße"
    # Nobody is asked about a document that is not there.
    assert "item 2: document_text is null, and it is required" in "".join(ran.json["refusals"])
