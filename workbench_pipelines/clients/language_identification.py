"""The language of a text, by py3langid: over a hundred languages, its model comes in the package, nothing is downloaded."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MAX_CHARACTERS = 5_000  # more of a text says nothing more of its language


def identify(text: str) -> dict[str, float]:
    """How likely a text is in each language (ISO 639-1), the most likely first; about a tenth of a millisecond."""
    return {str(language): float(likely) for language, likely in _identifier().rank(text[:MAX_CHARACTERS])}


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
