"""One flipped bit of any pair, split or weight is another root."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.identity import digest
from workbench_pipelines.merkle import MerkleTree, leaf, merkle_root, root_of_path, tree_root

# The test vectors of the Certificate Transparency reference implementation: the root over the first n of these leaves.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def rows_of(*pairs: dict[str, Any]) -> pl.DataFrame:
    schema = {"pair_id": pl.String, "pair_hash": pl.String, "split": pl.String, "weight": pl.Float64}
    made = [
        {"pair_id": f"p{at}", "pair_hash": f"{at:064x}", "split": "train", "weight": 1.0} for at in range(len(pairs))
    ]
    return pl.DataFrame([row | pair for row, pair in zip(made, pairs, strict=True)], schema=schema)


@pytest.mark.parametrize("n", range(1, 9))
def test_the_tree_is_that_of_rfc_6962(n: int) -> None:
    assert tree_root(bytes.fromhex(one) for one in LEAVES[:n]) == ROOTS[n - 1]


def test_the_root_of_no_pairs_is_the_hash_of_nothing() -> None:
    assert merkle_root(rows_of({}).clear()) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("weight", [1, 1.0, 0.5, 2.25, 1e-7])
@pytest.mark.parametrize("pair_hash", ["ab" * 32, 'no"hash', "ü", ""])
def test_a_leaf_is_the_digest_of_its_pair(pair_hash: str, weight: float) -> None:
    assert leaf("p1", pair_hash, "val", weight) == digest(["leaf", "p1", pair_hash, "val", weight])
    assert leaf("p1", pair_hash, "val", weight, scheme=1) == digest(["leaf", pair_hash, "val", weight])


def test_the_order_of_rows_does_not_matter() -> None:
    rows = rows_of({}, {"split": "test"}, {}, {"split": "val"}, {})
    assert merkle_root(rows) == merkle_root(rows.reverse())


@pytest.mark.parametrize("change", [{"pair_id": "p9"}, {"pair_hash": "f" * 64}, {"split": "val"}, {"weight": 2.0}])
def test_every_part_of_a_pair_counts(change: dict[str, Any]) -> None:
    assert merkle_root(rows_of({}, {}, {})) != merkle_root(rows_of({}, change, {}))


def test_a_pair_more_or_less_is_another_root() -> None:
    assert len({merkle_root(rows_of(*[{}] * n)) for n in range(9)}) == 9


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 33])
def test_every_audit_path_leads_from_its_leaf_to_the_root_and_from_no_other(n: int) -> None:
    leaves = [digest(at) for at in range(n)]
    tree = MerkleTree(bytes.fromhex(one) for one in leaves)
    for at in range(n):
        path = tree.audit_path(at)
        led = [
            (leaf, index) for leaf in leaves for index in range(n) if root_of_path(leaf, index, n, path) == tree.root
        ]
        assert led == [(leaves[at], at)]
        assert root_of_path(leaves[at], at, n, [*path, leaves[0]]) is None
    with pytest.raises(IndexError):
        tree.audit_path(n)


def test_the_root_of_the_first_scheme_stays_what_it_was() -> None:
    rows = rows_of({}, {"split": "test"}, {"weight": 0.5})
    assert merkle_root(rows, scheme=1) == "12fd7b1f8b90a280aef21a9dca4745f0d09825de7af4304ef46976eabf27eccd"
