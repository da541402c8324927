"""Token counts without a network: OpenAI's cl100k_base, whose table comes with litellm.

Every model has a table of its own; this one is a common measure, and what a provider bills may differ by some tenths.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench_pipelines.errors import MissingPart

if TYPE_CHECKING:
    from tiktoken import Encoding

ENCODING = "cl100k_base"
# The name under which tiktoken caches the table: the SHA-1 of its address.
_TABLE = "litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"


def count_tokens(texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text; what looks like a special token counts as the text that it is.

    Raises:
        MissingPart: where litellm no longer brings the table along.
    """
    return [len(tokens) for tokens in _encoding().encode_ordinary_batch(list(texts), num_threads=1)]


@lru_cache(maxsize=1)
def _encoding() -> Encoding:
    from tiktoken import Encoding

    # Found without importing litellm, which takes seconds.
    package = importlib.util.find_spec("litellm")
    places = [Path(place) / _TABLE for place in (package.submodule_search_locations or ())] if package else []
    table = next((place for place in places if place.is_file()), None)
    if table is None:
        raise MissingPart(f"the token table {ENCODING} is not there; install the litellm that constraints.txt pins")
    ranks = {}
    for line in table.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return Encoding(ENCODING, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
