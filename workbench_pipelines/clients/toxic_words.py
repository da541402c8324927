"""The words behind `toxicity`: a table beside this module, taken out of the package alt-profanity-check 1.9.1 (MIT).

The package keeps its model as pickles, which run code where they are read; here are its numbers alone, made by
`benchmarks/toxic_words.py`. Nothing is downloaded and no scikit-learn is imported.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import polars as pl

from workbench_pipelines.errors import MissingPart
from workbench_pipelines.toxicity import ToxicWords

FILE = Path(__file__).parent / "toxic_words.parquet"
BIAS = -3.2775746781217507  # of the model; the table holds what belongs to words


@lru_cache(maxsize=1)
def toxic_words() -> ToxicWords:
    """The words, read once a process.

    Raises:
        MissingPart: the table did not come with the package.
    """
    if not FILE.is_file():
        raise MissingPart(f"toxicity: {FILE.name} is missing from the package; install it again")
    return ToxicWords(pl.read_parquet(FILE), BIAS)
