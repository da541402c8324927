"""Proofs that a pair is in an export, or is in none of its splits, for people who do not have the export.

A proof is a small JSON document that leads from one leaf, or from the two leaves between which the pair would stand, up to
the Merkle root. Leaves stand in the order of pair_id, and two audit paths of neighbouring places end at leaves between which
no other can be, whatever size the document claims. Only a root that comes from elsewhere (the manifest, the card, MLflow,
`export_versions`) makes it a proof.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.errors import ArgumentError, ExportError
from workbench_pipelines.merkle import SCHEME, MerkleTree, in_leaf_order, leaf, merkle_tree, root_of_path

INCLUDED, ABSENT = "inclusion", "non_inclusion"
PROOF_VERSION = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_LEAF: Mapping[str, type | tuple[type, ...]] = {
    "pair_id": str,
    "pair_hash": str,
    "split": str,
    "weight": (int, float),
    "index": int,
    "path": list,
}


class ProofMaker:
    """Proofs of one export; the tree is made once, each proof of it takes microseconds.

    Args:
        rows: all pairs of the export: pair_id, pair_hash, split, weight.
        manifest: of the same export.

    Raises:
        ExportError: when the root over the rows is not the one of the manifest.
    """

    def __init__(self, rows: pl.DataFrame, manifest: Mapping[str, Any]) -> None:
        self._scheme = int(manifest.get("merkle_scheme", 1))
        ordered = in_leaf_order(rows, scheme=self._scheme)
        self._tree: MerkleTree = merkle_tree(ordered, scheme=self._scheme)
        if self._tree.root != manifest["merkle_root"]:
            raise ExportError("the Merkle root of the pairs is not the one in the manifest; run `workbench verify`")
        self._rows = ordered
        self._ids: list[str] = ordered["pair_id"].to_list()
        self._named = {
            "proof_version": PROOF_VERSION,
            "collection": manifest["collection"],
            "version": manifest["version"],
            "merkle_root": self._tree.root,
            "merkle_scheme": self._scheme,
            "size": self._tree.size,
        }

    def prove(self, pair_id: str) -> dict[str, Any]:
        """The proof that a pair is in the export, or that it is not.

        Raises:
            ArgumentError: for what is no pair_id: it is in no export, and a proof of that would be taken for one of a pair.
            ExportError: for a pair that is not there, in an export whose leaves do not say which pair they are.
        """
        if not _HASH.fullmatch(pair_id):
            raise ArgumentError(
                f"{pair_id[:80]!r} is no pair_id, which is 64 hexadecimal digits in lower case, found {len(pair_id)} characters"
            )
        if self._scheme == 1:
            # Of the first scheme, leaves stand in the order of their splits.
            places = [at for at, one in enumerate(self._ids) if one == pair_id]
            if not places:
                raise ExportError(
                    f"pair {pair_id[:16]} is not in the export, but its leaves are of the first scheme and do not name their "
                    "pairs: absence can only be proved of a newer version"
                )
            return self._document(INCLUDED, pair_id, places)
        place = bisect_left(self._ids, pair_id)
        if place < len(self._ids) and self._ids[place] == pair_id:
            return self._document(INCLUDED, pair_id, [place])
        neighbours = [at for at in (place - 1, place) if 0 <= at < len(self._ids)]
        return self._document(ABSENT, pair_id, neighbours)

    def _document(self, kind: str, pair_id: str, places: list[int]) -> dict[str, Any]:
        leaves = [{**self._rows.row(at, named=True), "index": at, "path": self._tree.audit_path(at)} for at in places]
        return {**self._named, "kind": kind, "pair_id": pair_id, "leaves": leaves}


def read_proof(content: bytes) -> dict[str, Any]:
    """The proof that a file holds, each field of the type that it should have.

    Raises:
        ExportError: for anything else; the line names the field.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise ExportError("the proof is no JSON") from None
    if not isinstance(found, dict) or found.get("proof_version") != PROOF_VERSION:
        raise ExportError(f"this is no proof of `workbench prove` (proof_version {PROOF_VERSION})")
    for name, kind in {"pair_id": str, "merkle_root": str, "merkle_scheme": int, "size": int, "leaves": list}.items():
        if not isinstance(found.get(name), kind) or isinstance(found.get(name), bool):
            raise ExportError(f"the proof has no {name}")
    if not _HASH.fullmatch(found["pair_id"]):
        raise ExportError("the pair_id of the proof is none: it is 64 hexadecimal digits in lower case")
    if found.get("kind") not in (INCLUDED, ABSENT) or found["merkle_scheme"] not in range(1, SCHEME + 1):
        raise ExportError("the proof is of a kind or scheme that nobody knows here")
    for one in found["leaves"]:
        for name, types in _LEAF.items():
            if not isinstance(one, dict) or not isinstance(one.get(name), types) or isinstance(one.get(name), bool):
                raise ExportError(f"a leaf of the proof has no {name}")
        if not all(isinstance(beside, str) and _HASH.fullmatch(beside) for beside in one["path"]):
            raise ExportError("a path of the proof holds something that is no hash")
    return found


def proof_problems(proof: Mapping[str, Any], root: str) -> list[str]:
    """What is wrong with a proof (by `read_proof`), one line each; empty where it holds for this root."""
    problems = []
    if proof["merkle_root"] != root:
        problems.append(f"the proof is of the root {proof['merkle_root']}, not of {root}")
    scheme, size, leaves = proof["merkle_scheme"], proof["size"], proof["leaves"]
    for one in leaves:
        said = leaf(one["pair_id"], one["pair_hash"], one["split"], one["weight"], scheme=scheme)
        if root_of_path(said, one["index"], size, one["path"]) != root:
            problems.append(f"the path of leaf {one['index']} does not lead to the root")
    problems += _included(proof) if proof["kind"] == INCLUDED else _absent(proof, root)
    return problems


def _included(proof: Mapping[str, Any]) -> list[str]:
    found = [one["pair_id"] for one in proof["leaves"]]
    return [] if found == [proof["pair_id"]] else [f"the leaf is not that of pair {proof['pair_id'][:16]}"]


def _absent(proof: Mapping[str, Any], root: str) -> list[str]:
    """Whether the leaves are the two that the pair would stand between, or the first or last one that it would pass."""
    if proof["merkle_scheme"] == 1:
        return ["leaves of the first scheme do not name their pairs: nothing is proved by their order"]
    size, leaves, pair_id = proof["size"], proof["leaves"], proof["pair_id"]
    if size == 0:
        empty = not leaves and root == MerkleTree([]).root
        return [] if empty else ["the root is not that of an export without pairs"]
    at = [one["index"] for one in leaves]
    before = [one for one in leaves if one["pair_id"] < pair_id]
    after = [one for one in leaves if one["pair_id"] > pair_id]
    between = len(before) == len(after) == 1 and before[0]["index"] + 1 == after[0]["index"]
    first = not before and len(after) == 1 and at == [0]
    last = not after and len(before) == 1 and at == [size - 1]
    if len(before) + len(after) == len(leaves) and (between or first or last):
        return []
    return [f"the leaves do not show that pair {pair_id[:16]} stands nowhere between them"]
