"""Whoever has only the root can tell whether a pair is in an export, and is not fooled by what others write."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.errors import ExportError
from workbench_pipelines.merkle import merkle_root
from workbench_pipelines.pair_proofs import ABSENT, INCLUDED, ProofMaker, proof_problems, read_proof
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.test_export_folder import publish


def named(short: str) -> str:
    """A pair_id by how it begins."""
    return short.ljust(64, "0")


HASHES = st.text("0123456789abcdef", min_size=1, max_size=4).map(named)


def rows_of(pair_ids: list[str]) -> pl.DataFrame:
    made = [
        {"pair_id": one, "pair_hash": f"{at:064x}", "split": ("train", "val", "test")[at % 3], "weight": 1.0 + at % 2}
        for at, one in enumerate(pair_ids)
    ]
    return pl.DataFrame(
        made, schema={"pair_id": pl.String, "pair_hash": pl.String, "split": pl.String, "weight": pl.Float64}
    )


def maker(pair_ids: list[str], scheme: int = 2) -> ProofMaker:
    rows = rows_of(pair_ids)
    root = merkle_root(rows, scheme=scheme)
    return ProofMaker(rows, {"collection": "c", "version": 1, "merkle_root": root, "merkle_scheme": scheme})


def holds(proof: dict[str, Any], root: str | None = None) -> bool:
    read = read_proof(orjson.dumps(proof))
    return proof_problems(read, root or read["merkle_root"]) == []


@given(st.sets(HASHES, max_size=20), HASHES)
def test_every_pair_is_proved_to_be_there_or_not(pair_ids: set[str], asked: str) -> None:
    proof = maker(sorted(pair_ids, reverse=True)).prove(asked)
    assert proof["kind"] == (INCLUDED if asked in pair_ids else ABSENT)
    assert holds(proof)


@given(st.sets(HASHES, min_size=2, max_size=12), st.data())
def test_no_pair_of_an_export_can_be_said_to_be_absent(pair_ids: set[str], data: st.DataObject) -> None:
    """A liar has the true leaves with their paths, and may claim any order, places and size."""
    made, names = maker(sorted(pair_ids)), sorted(pair_ids)
    victim = data.draw(st.sampled_from(names))
    others = [copy.deepcopy(made.prove(one)["leaves"][0]) for one in names if one != victim]
    shown = data.draw(st.lists(st.sampled_from(others), max_size=3))
    size = data.draw(st.integers(0, len(names) + 3))
    forged = {**made.prove(victim), "kind": ABSENT, "leaves": copy.deepcopy(shown), "size": size}
    for one in forged["leaves"]:
        one["index"] = data.draw(st.integers(0, max(size - 1, 0)))
    assert not holds(forged)


@pytest.mark.parametrize("victim", range(7))
def test_leaves_with_another_between_them_or_beyond_them_prove_no_absence(victim: int) -> None:
    names = [named(f"{at:02x}") for at in range(7)]
    made = maker(names)
    true = [made.prove(one)["leaves"][0] for one in names]
    absent = {**made.prove(names[victim]), "kind": ABSENT}
    for before in range(victim + 1):
        for after in range(victim, 7):
            shown = [one for one in (true[before], true[after]) if one["pair_id"] != names[victim]]
            assert not holds({**absent, "leaves": shown})


def test_a_proof_of_one_pair_is_none_of_another_and_none_for_another_root() -> None:
    made = maker([named(f"{at:02x}") for at in range(9)])
    proof = made.prove(named("03"))
    assert not holds({**proof, "pair_id": named("04")})
    assert not holds(proof, "0" * 64)
    assert not holds({**proof, "leaves": [proof["leaves"][0] | {"split": "test", "pair_hash": "0" * 64}]})
    assert not holds({**proof, "leaves": [proof["leaves"][0] | {"pair_id": named("04")}], "pair_id": named("04")})
    assert not holds({**proof, "leaves": []})


def test_absence_is_not_proved_by_leaves_that_do_not_name_their_pairs() -> None:
    old = maker([named("aa"), named("bb"), named("cc")], scheme=1)
    assert holds(old.prove(named("bb")))
    with pytest.raises(ExportError, match="absence can only be proved of a newer version"):
        old.prove(named("bc"))
    assert not holds({**old.prove(named("bb")), "kind": ABSENT, "pair_id": named("bc")})


@pytest.mark.parametrize(
    "broken", [b"{", b"[]", b'{"proof_version": 2}', b'{"proof_version": 1, "pair_id": "a", "merkle_root": 3}']
)
def test_what_is_no_proof_is_one_line(broken: bytes) -> None:
    with pytest.raises(ExportError):
        read_proof(broken)


def test_a_path_that_holds_no_hashes_is_refused() -> None:
    proof = maker([named("aa"), named("bb")]).prove(named("aa"))
    proof["leaves"][0]["path"] = ["zz"]
    with pytest.raises(ExportError, match="something that is no hash"):
        read_proof(orjson.dumps(proof))


def test_a_proof_is_made_and_checked_on_the_command_line_without_the_export(project: Project, tmp_path: Path) -> None:
    folder = Path(publish(tmp_path / "lake").path)
    there = pl.read_parquet(folder / "val.parquet")["pair_id"][0]
    root = orjson.loads((folder / "manifest.json").read_bytes())["merkle_root"]
    alone = tmp_path / "manifest.json"
    alone.write_bytes((folder / "manifest.json").read_bytes())
    for pair_id, kind in ((there, INCLUDED), ("0" * 64, ABSENT), ("f" * 64, ABSENT)):
        file = tmp_path / f"{pair_id}.json"
        assert project("prove", pair_id, "--export", str(folder), "--out", str(file)).code == 0
        assert project("verify", "--proof", str(file), "--root", root).code == 0
        assert project("verify", "--proof", str(file), str(alone), "--json").json["kind"] == kind
        assert project("verify", "--proof", str(file), "--root", "0" * 64).code == 1
        assert project("verify", "--proof", str(file)).code == 2
    assert project("verify", "--root", root).code == 2
    said = project("prove", there, "--export", str(folder))
    assert f"pair {there} is in c v1, split val" in said.out


def test_a_mistyped_pair_id_is_no_pair_and_nothing_is_proved_of_it(project: Project, tmp_path: Path) -> None:
    folder = Path(publish(tmp_path / "lake").path)
    there = pl.read_parquet(folder / "val.parquet")["pair_id"][0]
    true = project("prove", "0" * 64, "--export", str(folder), "--json").json
    for typed in (f"A{there[1:]}", there.upper() + " ", f" {there}", f"{there}\n", there[:20], "", there + "0"):
        ran = project("prove", typed, "--export", str(folder))
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
        assert "64 hexadecimal digits in lower case" in ran.err
        file = tmp_path / "proof.json"
        file.write_bytes(orjson.dumps({**true, "pair_id": typed}))
        checked = project("verify", "--proof", str(file), "--root", true["merkle_root"])
        assert checked.code == 1
        assert "the pair_id of the proof is none" in checked.err


def test_an_export_that_is_not_what_its_manifest_says_proves_nothing(project: Project, tmp_path: Path) -> None:
    folder = Path(publish(tmp_path / "lake").path)
    rows = pl.read_parquet(folder / "test.parquet")
    rows.with_columns(pl.lit(9.0).alias("weight")).write_parquet(folder / "test.parquet")
    ran = project("prove", rows["pair_id"][0], "--export", str(folder))
    assert (ran.code, ran.out) == (1, "")
    assert "run `workbench verify`" in ran.err
