"""The Merkle root of an export: one hash that changes when any pair, split or weight of it does.

The leaf of a pair is the digest of ``["leaf", pair_id, pair_hash, split, weight]``, and leaves stand in the order of
pair_id: a leaf says which pair it is, so two neighbours prove that nothing stands between them. Exports of before
(`scheme` 1) have leaves of ``["leaf", pair_hash, split, weight]`` in the order of (split, pair_id), and keep them.

The tree is that of RFC 6962, section 2.1 (Certificate Transparency): a leaf is hashed behind a 0x00 byte and an inner
node behind 0x01, so that no inner node can pass for a leaf; the last node of an odd level goes up as it is. Audit paths
are those of RFC 9162, section 2.1.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import polars as pl

from workbench_pipelines.identity import canonical_json, digest

SCHEME = 2
"""How the roots of new exports are made; a manifest that names none is of scheme 1."""
COLUMNS = ("pair_id", "pair_hash", "split", "weight")


def leaf(pair_id: str, pair_hash: str, split: str, weight: float, *, scheme: int = SCHEME) -> str:
    """What one pair contributes to the root."""
    named = (pair_hash,) if scheme == 1 else (pair_id, pair_hash)
    if not all(one.isascii() and one.isalnum() for one in named):
        return digest(["leaf", *named, split, weight])
    # A hash needs no escaping, and a million leaves share a few tails: a tenth of the time of the general way.
    said = b'["leaf","' + '","'.join(named).encode() + b'",' + _tail(split, float(weight))
    return hashlib.sha256(said).hexdigest()


def tree_root(leaves: Iterable[bytes]) -> str:
    """The RFC 6962 tree hash of these leaves in their order; that of no leaf is the hash of nothing."""
    return MerkleTree(leaves, keep=False).root


def merkle_root(rows: pl.DataFrame, *, scheme: int = SCHEME) -> str:
    """The root over the pairs of an export, whatever order its rows have.

    Input columns: pair_id, pair_hash, split, weight.
    """
    return tree_root(_leaves(in_leaf_order(rows, scheme=scheme), scheme))


def merkle_tree(rows: pl.DataFrame, *, scheme: int = SCHEME) -> MerkleTree:
    """The tree over rows that are `in_leaf_order`: leaf `i` is row `i`."""
    return MerkleTree(_leaves(rows, scheme))


def in_leaf_order(rows: pl.DataFrame, *, scheme: int = SCHEME) -> pl.DataFrame:
    """The columns that count, in the order of the leaves."""
    return rows.select(COLUMNS).sort(["split", "pair_id"] if scheme == 1 else ["pair_id"])


class MerkleTree:
    """A tree over leaves in their order.

    Args:
        keep: whether every level is kept, for audit paths; the root alone needs one.
    """

    def __init__(self, leaves: Iterable[bytes], *, keep: bool = True) -> None:
        level = [_leaf_node(one) for one in leaves]
        self.size = len(level)
        self._levels = [level]
        while len(level) > 1:
            level = _level_above(level)
            self._levels = [*self._levels, level] if keep else [level]

    @property
    def root(self) -> str:
        top = self._levels[-1]
        return top[0].hex() if top else hashlib.sha256().hexdigest()

    def audit_path(self, index: int) -> list[str]:
        """The nodes beside the way from a leaf up to the root, the lowest first."""
        if not 0 <= index < self.size:
            raise IndexError(f"no leaf {index} in a tree of {self.size}")
        path = []
        for level in self._levels[:-1]:
            beside = index ^ 1
            if beside < len(level):
                path.append(level[beside].hex())
            index //= 2
        return path


def root_of_path(leaf: str, index: int, size: int, path: Sequence[str]) -> str | None:
    """The root that an audit path leads to; None where no tree of this size has such a path (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    at, last, node = index, size - 1, _leaf_node(bytes.fromhex(leaf))
    for beside in path:
        if last == 0:
            return None
        if at % 2 or at == last:
            node = _inner_node(bytes.fromhex(beside), node)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            node = _inner_node(node, bytes.fromhex(beside))
        at, last = at // 2, last // 2
    return node.hex() if last == 0 else None


def _leaves(ordered: pl.DataFrame, scheme: int) -> Iterable[bytes]:
    named = zip(*(ordered[column] for column in COLUMNS), strict=True)
    return (bytes.fromhex(leaf(*one, scheme=scheme)) for one in named)


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    paired = [_inner_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*paired, level[-1]] if len(level) % 2 else paired


def _leaf_node(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _inner_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@lru_cache(maxsize=1024)
def _tail(split: str, weight: float) -> bytes:
    return canonical_json([split, weight])[1:]
