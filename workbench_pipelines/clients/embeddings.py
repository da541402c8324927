"""The embedding model that comes with the environment: WordLlama, 256 numbers a text, 40,000 short texts a second.

It is read from the installed package; nothing is ever downloaded.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench_pipelines.errors import MissingPart

if TYPE_CHECKING:
    import numpy as np
    from wordllama.inference import WordLlamaInference

EMBEDDING_MODEL = "wordllama/l2_supercat_256"
DIMENSIONS = 256
MAX_CHARACTERS = 50_000  # of one text; a mean over some 10,000 words does not move with the words that follow
BATCH_CHARACTERS = 64_000  # a batch is padded to its longest text, at up to 1 KiB a character: 64 MB at most
BATCH_TEXTS = 256


@lru_cache(maxsize=1)
def _model() -> WordLlamaInference:
    """The model, loaded once a process (about 0.3 s).

    Raises:
        MissingPart: the package is not installed, or came without its weights.
    """
    if importlib.util.find_spec("wordllama") is None:
        raise MissingPart(
            "embeddings: the package 'wordllama' is not installed; run `make` to complete the environment"
        )
    import wordllama

    folder = Path(wordllama.__file__).parent
    try:
        return wordllama.WordLlama.load(cache_dir=folder, disable_download=True, dim=DIMENSIONS)
    except (OSError, ValueError) as error:
        raise MissingPart(f"embeddings: the installed 'wordllama' lacks its weights ({error})") from None


def embed(texts: list[str]) -> np.ndarray:
    """One row of 256 float32 numbers per text; an empty text gives zeros, whatever its neighbours."""
    import numpy as np

    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    # A lone surrogate is legal in JSON and no UTF-8: the tokenizer would refuse the whole batch.
    cleaned = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8") for text in texts]
    filled = sorted(
        (place for place, text in enumerate(cleaned) if text.strip()), key=lambda place: len(cleaned[place])
    )
    start = 0
    while start < len(filled):
        stop = start + 1
        while (
            stop < len(filled)
            and stop - start < BATCH_TEXTS
            and (stop + 1 - start) * len(cleaned[filled[stop]]) <= BATCH_CHARACTERS
        ):
            stop += 1
        batch = filled[start:stop]
        vectors[batch] = _model().embed([cleaned[place] for place in batch], batch_size=len(batch))
        start = stop
    return np.nan_to_num(vectors)
