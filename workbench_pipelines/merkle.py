"""The Merkle root of an export: one hash that changes when any pair, split or weight of it does.

The leaf of a pair is the digest of ``["leaf", pair_hash, split, weight]``, and leaves stand in the order of (split,
pair_id). The tree is that of RFC 6962, section 2.1 (Certificate Transparency): a leaf is hashed behind a 0x00 byte and
an inner node behind 0x01, so that no inner node can pass for a leaf; the last node of an odd level goes up as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import polars as pl

from workbench_pipelines.identity import canonical_json, digest


def leaf(pair_hash: str, split: str, weight: float) -> str:
    """What one pair contributes to the root."""
    if not (pair_hash.isascii() and pair_hash.isalnum()):
        return digest(["leaf", pair_hash, split, weight])
    # A hash needs no escaping, and a million leaves share a few tails: a tenth of the time of the general way.
    return hashlib.sha256(b'["leaf","' + pair_hash.encode() + b'",' + _tail(split, float(weight))).hexdigest()


def tree_root(leaves: Iterable[bytes]) -> str:
    """The RFC 6962 tree hash of these leaves in their order; that of no leaf is the hash of nothing."""
    level = [hashlib.sha256(b"\x00" + one).digest() for one in leaves]
    if not level:
        return hashlib.sha256().hexdigest()
    while len(level) > 1:
        level = _level_above(level)
    return level[0].hex()


def merkle_root(rows: pl.DataFrame) -> str:
    """The root over the pairs of an export, whatever order its rows have.

    Input columns: pair_id, pair_hash, split, weight.
    """
    ordered = rows.select("split", "pair_id", "pair_hash", "weight").sort("split", "pair_id")
    named = zip(ordered["pair_hash"], ordered["split"], ordered["weight"], strict=True)
    return tree_root(bytes.fromhex(leaf(*one)) for one in named)


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    paired = [hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
    return [*paired, level[-1]] if len(level) % 2 else paired


@lru_cache(maxsize=1024)
def _tail(split: str, weight: float) -> bytes:
    return canonical_json([split, weight])[1:]
