"""SQL over the lake reads known tables and nothing else, and never shows what is restricted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.lake_sql import query
from workbench_pipelines.errors import ArgumentError, LakeError
from workbench_pipelines.restrictions import MASK, Restrictions

OPEN = Restrictions({"iris": frozenset(), "clinic": frozenset({"patient"})})
ALL_OPEN = Restrictions({"iris": frozenset()})
MESSAGES = [[{"role": "user", "content": "Who is Ada?", "parts": None}]]
SECRET = "Ada Lovelace"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    for pair, classification, response in [
        ("p1", "public", '{"species":"setosa"}'),
        ("p2", "restricted", SECRET),
        ("p3", None, SECRET),
        ("p4", "Public", SECRET),
    ]:
        row = {
            "training_sheet": ["t"],
            "pair_id": [pair],
            "sheet": ["clinic"],
            "response": [response],
            "messages": MESSAGES,
            "data_classification": pl.Series([classification], dtype=pl.String),
        }
        lake.append("label", "labeled_pairs", frame=pl.DataFrame(row), partition_by="training_sheet")
    return lake


def ask(
    lake: Lake, sql: str, restrictions: Restrictions = OPEN, **params: str | int | None
) -> list[tuple[object, ...]]:
    return query(lake, sql, restrictions=restrictions, params=params).rows()


def put(lake: Lake, folder: str, table: str, **columns: list[object]) -> None:
    lake.append(folder, table, frame=pl.DataFrame(columns))


def test_only_rows_known_to_be_open_show_their_content(lake: Lake) -> None:
    found = ask(lake, "SELECT pair_id, response, messages IS NULL FROM labeled_pairs ORDER BY pair_id")
    assert found == [
        ("p1", '{"species":"setosa"}', False),
        ("p2", MASK, True),
        ("p3", MASK, True),
        ("p4", MASK, True),
    ]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT pair_id FROM labeled_pairs WHERE response = '{SECRET}'",
        "SELECT pair_id FROM labeled_pairs p WHERE EXISTS (SELECT 1 FROM labeled_pairs q WHERE q.response LIKE 'Ada%')",
        "SELECT p.pair_id FROM label.labeled_pairs AS p WHERE starts_with(p.response, 'Ada')",
        "WITH x AS (SELECT * FROM labeled_pairs) SELECT pair_id FROM x WHERE x.response LIKE '%Love%'",
        "SELECT pair_id FROM LABELED_PAIRS WHERE strpos(response, 'Ada') > 0",
        "SELECT a.pair_id FROM (labeled_pairs a JOIN labeled_pairs b USING (pair_id)) WHERE b.response LIKE 'Ada%'",
        "SELECT max(response) FROM labeled_pairs HAVING max(response) LIKE 'Ada%'",
        "SELECT 1 FROM labeled_pairs NATURAL JOIN (SELECT 'Ada Lovelace' AS response) AS known",
    ],
)  # fmt: skip
def test_no_filter_looks_behind_the_mask(lake: Lake, sql: str) -> None:
    assert ask(lake, sql) == []


def test_a_null_stays_a_null_under_the_mask(lake: Lake) -> None:
    put(lake, "records", "requests", request_hash=["r1", "r2"], answer=["yes", None])
    assert ask(lake, "SELECT answer FROM requests ORDER BY request_hash") == [(MASK,), (None,)]


def test_tables_without_a_sheet_are_masked_as_soon_as_any_sheet_is_restricted(lake: Lake) -> None:
    put(lake, "records", "requests", request_hash=["r"], answer=["yes"])
    assert ask(lake, "SELECT answer FROM requests") == [(MASK,)]
    assert ask(lake, "SELECT answer FROM requests", ALL_OPEN) == [("yes",)]


def test_tables_with_a_sheet_are_masked_by_sheet_and_unknown_sheets_are_restricted(lake: Lake) -> None:
    sheets = ["iris", "clinic", "gone", None]
    put(lake, "label", "decisions", sheet=sheets, label_data=["a"] * 4, reason=["b"] * 4, at=[1, 2, 3, 4])
    found = ask(lake, "SELECT label_data, reason FROM decisions ORDER BY at")
    assert found == [("a", "b"), (MASK, MASK), (MASK, MASK), (MASK, MASK)]
    assert ask(lake, "SELECT label_data FROM decisions ORDER BY at", ALL_OPEN) == [("a",), (MASK,), (MASK,), ("a",)]


def test_a_label_that_states_no_classification_has_that_of_its_sheet(lake: Lake) -> None:
    put(
        lake,
        "label",
        "canonical_labels",
        sheet=["iris", "iris", "clinic"],
        label_data=["a", "b", "c"],
        data_classification=[None, "restricted", "public"],
    )
    assert sorted(ask(lake, "SELECT label_data FROM canonical_labels")) == [("a",), (MASK,), (MASK,)]


def test_a_snapshot_hides_its_tagged_columns_and_a_restricted_one_all_of_its_source(lake: Lake) -> None:
    row = pl.DataFrame({"sheet": ["clinic"], "item_ref": ["1"], "item_hash": ["h"], "patient": [SECRET], "age": [40]})
    lake.append("data", "sheet_snapshot", "clinic", frame=row)
    lake.append("data", "sheet_snapshot", "v-2.x", frame=row)
    assert ask(lake, "SELECT item_ref, patient, age FROM sheet_snapshot_clinic") == [("1", MASK, 40)]
    closed = Restrictions({"v-2.x": None})
    assert ask(lake, "SELECT item_ref, patient, age FROM sheet_snapshot_v_2_x", closed) == [("1", MASK, None)]
    assert ask(lake, 'SELECT item_hash FROM data."sheet_snapshot_v-2.x"', closed) == [("h",)]


def test_a_parameter_is_a_value_and_never_sql(lake: Lake) -> None:
    sql = "SELECT pair_id FROM labeled_pairs WHERE pair_id = :pair"
    assert ask(lake, sql, pair="p1") == [("p1",)]
    assert ask(lake, sql, pair="x' OR '1'='1") == []
    assert ask(lake, sql, pair="\\' OR 1=1 --") == []
    assert ask(lake, "SELECT :n + 1 FROM labeled_pairs LIMIT 1", n=41) == [(42,)]


@pytest.mark.parametrize(("params", "word"), [({}, ":pair"), ({"pair": "p1", "other": "x"}, ":other")])
def test_parameters_that_are_missing_or_unused_are_named(lake: Lake, params: dict[str, str], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        ask(lake, "SELECT 1 FROM labeled_pairs WHERE pair_id = :pair", **params)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{canary}'",
        'SELECT * FROM "{canary}"',
        "SELECT * FROM `{canary}`",
        "SELECT * FROM read_csv('{canary}')",
        "SELECT * FROM read_parquet('{canary}')",
        "SELECT * FROM parquet.`{canary}`",
        "SELECT * FROM scan_csv('{canary}') AS t",
        "SELECT read_text('{canary}')",
        "SELECT pair_id FROM labeled_pairs WHERE pair_id IN (SELECT s FROM read_csv('{canary}'))",
        "SELECT * FROM labeled_pairs, LATERAL read_csv('{canary}')",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{canary}'",
        "COPY (SELECT 1) TO '{target}'",
        "COPY labeled_pairs TO '{target}' STORED AS CSV",
        "SELECT 1; COPY (SELECT 1) TO '{target}'",
        "SELECT 1 -- \n; COPY (SELECT 1) TO '{target}'",
        "SELECT 1 /* ; */ ; COPY (SELECT 1) TO '{target}'",
        "ATTACH '{canary}' AS x",
        "PRAGMA database_list",
        "SET datafusion.catalog.information_schema = true",
        "EXPLAIN SELECT * FROM labeled_pairs",
        "DESCRIBE labeled_pairs",
        "SHOW TABLES",
        "DROP TABLE labeled_pairs",
        "DELETE FROM labeled_pairs",
        "INSERT INTO labeled_pairs SELECT * FROM labeled_pairs",
        "UPDATE labeled_pairs SET pair_id = 'x'",
        "WITH x AS (DELETE FROM labeled_pairs RETURNING *) SELECT * FROM x",
        "SELECT * INTO copied FROM labeled_pairs",
        "CREATE TABLE x AS SELECT * FROM labeled_pairs",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
        "WITH labeled_pairs AS (SELECT 1 AS pair_id) SELECT * FROM labeled_pairs",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM datafusion.public.labeled_pairs",
        "SELECT * FROM other.labeled_pairs",
        "SELECT * FROM labeled_pairs FOR UPDATE",
        "SELECT * FROM labeled_pairs TABLESAMPLE (10)",
        "SELECT * FROM labeled_pairs VERSION AS OF 0",
        "SELECT (SELECT FROM",
        "SELECT 'open",
        "",
        "   -- nothing",
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT 1 " * 5000,
    ],
)
def test_nothing_but_one_select_over_the_lake_is_run(lake: Lake, tmp_path: Path, sql: str) -> None:
    canary, target = tmp_path / "canary.csv", tmp_path / "written.csv"
    canary.write_text("s\nCANARY\n")
    with pytest.raises(ArgumentError) as refused:
        ask(lake, sql.replace("{canary}", str(canary)).replace("{target}", str(target)))
    assert not target.exists()
    assert "CANARY" not in refused.value.line
    assert "\n" not in str(refused.value)
    assert len(refused.value.line) < 500


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM labelled_pairs", "labelled_pairs' in the lake; did you mean 'labeled_pairs'"),
        ("SELECT * FROM label.labelled_pairs", "did you mean 'label.labeled_pairs'"),
        ("SELECT pair_idd FROM labeled_pairs", "no column 'pair_idd'; did you mean 'pair_id'"),
        ("SELECT p.pair_idd FROM labeled_pairs p", "no column 'pair_idd'; did you mean 'pair_id'"),
        ("SELECT nope(pair_id) FROM labeled_pairs", "(?i)nope"),
        ("SELECT pair_id + FROM labeled_pairs WHERE", "not readable as SQL"),
        ("SELECT sheet, count(*) FROM labeled_pairs", "sheet"),
    ],
)
def test_a_slip_is_explained_in_one_line(lake: Lake, sql: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as slip:
        ask(lake, sql)
    assert "\n" not in str(slip.value)


def test_a_table_nothing_was_written_to_is_empty_where_its_columns_are_known(lake: Lake) -> None:
    assert ask(lake, "SELECT model_name FROM model_training_lineage") == []
    with pytest.raises(LakeError, match="train/trained_model does not exist"):
        ask(lake, "SELECT * FROM trained_model")


def test_joins_unions_windows_and_lists_work(lake: Lake) -> None:
    put(lake, "records", "model_training_lineage", model_name=["m"], pair_ids=[["p1", "p9"]])
    assert ask(
        lake,
        """
        WITH taught AS (SELECT model_name, UNNEST(pair_ids) AS pair_id FROM model_training_lineage)
        SELECT t.pair_id, p.training_sheet, ROW_NUMBER() OVER (ORDER BY t.pair_id) AS n
        FROM taught t LEFT JOIN labeled_pairs p USING (pair_id)
        UNION ALL SELECT 'z', string_agg(training_sheet, '+'), COUNT(*) FROM labeled_pairs
        ORDER BY 1;
        """,
    ) == [("p1", "t", 1), ("p9", None, 2), ("z", "t+t+t+t", 4)]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT 1 FROM labeled_pairs LIMIT 1", 1),
        ("SELECT training_sheet FROM labeled_pairs LIMIT 10 OFFSET 3", 1),
        ("SELECT a.training_sheet FROM (SELECT training_sheet FROM labeled_pairs LIMIT 2) a, labeled_pairs", 8),
    ],
)
def test_a_limit_holds_where_only_the_partition_column_is_read(lake: Lake, sql: str, rows: int) -> None:
    assert len(ask(lake, sql)) == rows


def test_the_largest_of_long_names_is_whole(lake: Lake) -> None:
    put(lake, "records", "alerts", alert_id=["a" * 64, "b" * 64])
    assert ask(lake, "SELECT min(alert_id), max(alert_id), count(*) FROM alerts") == [("a" * 64, "b" * 64, 2)]


def test_two_columns_of_one_name_are_told_apart(lake: Lake) -> None:
    both = query(lake, "SELECT a.pair_id, b.pair_id FROM labeled_pairs a, labeled_pairs b LIMIT 1", restrictions=OPEN)
    assert both.columns == ["pair_id", "pair_id_2"]


def test_a_partition_column_is_text(lake: Lake) -> None:
    assert query(lake, "SELECT training_sheet FROM labeled_pairs", restrictions=OPEN).schema == {
        "training_sheet": pl.String
    }
