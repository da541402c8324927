"""Disclosure: what is restricted is not shown to a model outside the house, unless its TrainingSheet says that it may be.

The gates stand before exports; this one stands before models, since what a provider was sent can not be taken back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

import polars as pl

from workbench_pipelines.generation import REFUSALS
from workbench_pipelines.usage import CLASSIFICATIONS, statements_from_json

RESTRICTED = CLASSIFICATIONS[-1]
WITHHELD = "withheld"
# Providers of litellm that are asked on this machine where no address is given.
_LOCAL_PROVIDERS = frozenset({"ollama", "ollama_chat", "llamafile"})


def is_in_house(address: str | None, provider: str) -> bool:
    """Whether a model answers on this machine or in its private network: by its address, or by its provider's own.

    A name without a dot is one of the own network; any other name may lead anywhere.
    """
    if address is None:
        return provider in _LOCAL_PROVIDERS
    host = urlsplit(address).hostname or ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host
    return found.is_loopback or found.is_private


def withheld(prompts: pl.DataFrame, outside: Sequence[str]) -> pl.DataFrame:
    """The prompts that the models outside the house may not be shown, with the reason `withheld`: rows of `REFUSALS`.

    Input columns: training_sheet, item_ref, pair_id, usage_statements.

    Args:
        outside: the models that are outside the house; none withholds nothing.
    """
    sources = {text: _restricted_by(text) for text in prompts["usage_statements"].unique()} if outside else {}
    restricted = {text: source for text, source in sources.items() if source is not None}
    may = "ask a `local/` model, or say `generation: {allow_restricted: true}`"
    detail = pl.col("usage_statements").replace_strict(restricted, default=None, return_dtype=pl.String)
    said = (
        pl.lit("what it shows is restricted (") + detail + pl.lit(f"), and {' and '.join(outside)} is outside; {may}")
    )
    held = prompts.filter(pl.col("usage_statements").is_in(list(restricted)))
    return held.with_columns(reason=pl.lit(WITHHELD), detail=said).select(
        pl.col(name).cast(dtype) for name, dtype in REFUSALS.items()
    )


def _restricted_by(statements: str) -> str | None:
    """The source that says that a prompt is restricted; None where none does."""
    said = statements_from_json(statements)
    return next((one.source for one in said if one.data_classification == RESTRICTED), None)
