"""The words behind `toxicity`: what they flag, and how they were taken out of the package alt-profanity-check.

    python benchmarks/toxic_words.py                    # what is flagged at several thresholds
    python benchmarks/toxic_words.py --peers            # beside word lists that are installed: better-profanity, glin-profanity
    python benchmarks/toxic_words.py --make             # anew from alt-profanity-check, in an environment of its own

`--make` reads the pickles of that package, `profanity_check/data/vectorizer.joblib` and `model.joblib`, which runs what they say:
do it where nothing is at stake. Five support vector machines with a sigmoid each become one linear model with the mean of
their weights, times the slope of its sigmoid; no probability moves by more than 0.05, none of the 144 sentences across 0.9.
"""

from __future__ import annotations

import argparse
import ast
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
sys.path.insert(0, str(CHECKOUT))
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)


def docstring_sentences(most: int = 20_000) -> list[str]:
    """Sentences of the docstrings of Python's own library: technical text that nobody chose for this."""
    return [sentence for _, sentence in zip(range(most), _sentences(), strict=False)]


def _sentences() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in file.parts or "test" in str(file):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                for sentence in " ".join(text.split()).split(". "):
                    if 30 <= len(sentence) <= 300:
                        yield sentence


def print_flagged(name: str, texts: Sequence[str], flags: dict[str, Callable[[str], bool]]) -> None:
    for side, flagged in flags.items():
        hits = sum(map(flagged, texts))
        print(f"{name:<42}{side:<22}{hits:>6} of {len(texts):>6}  {hits / len(texts):.2%}")


def measure(peers: bool) -> None:
    import polars as pl

    from workbench_pipelines.clients.toxic_words import toxic_words
    from workbench_pipelines.toxicity import toxicity_of
    from workbench_pipelines_tests.toxicity_sentences import TECHNICAL, TOXIC

    opinions = pl.read_parquet(CHECKOUT / "sheets/data/opinions.parquet")
    corpora = {
        "technical sentences in strong words": list(TECHNICAL),
        "toxic sentences": list(TOXIC),
        "docstrings of Python's library": docstring_sentences(),
        "starter sentences (reviews and tweets)": opinions["text"].to_list(),
    }
    for name, texts in corpora.items():
        scores = dict(zip(texts, toxicity_of(pl.Series(texts), toxic_words()), strict=True))
        flags = {f"ours, from {at}": lambda text, at=at, scores=scores: scores[text] >= at for at in THRESHOLDS}
        if peers:
            flags |= word_lists()
        print_flagged(name, texts, flags)


def word_lists() -> dict[str, Callable[[str], bool]]:
    from better_profanity import profanity
    from glin_profanity import Filter

    profanity.load_censor_words()
    return {"better-profanity": profanity.contains_profanity, "glin-profanity": Filter().is_profane}


def make() -> None:
    import joblib
    import numpy as np
    import polars as pl
    import profanity_check

    folder = Path(profanity_check.__file__).parent / "data"
    vectorizer = joblib.load(folder / "vectorizer.joblib")
    model = joblib.load(folder / "model.joblib")
    weights, bias = np.zeros(len(vectorizer.vocabulary_)), 0.0
    for one in model.calibrated_classifiers_:
        slope, shift = one.calibrators[0].a_, one.calibrators[0].b_
        weights += -slope * one.estimator.coef_[0]
        bias += -slope * one.estimator.intercept_[0] - shift
    count = len(model.calibrated_classifiers_)
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    frame = pl.DataFrame({"word": words, "idf": vectorizer.idf_, "weight": weights / count})
    file = CHECKOUT / "workbench_pipelines/clients/toxic_words.parquet"
    frame.cast({"idf": pl.Float32, "weight": pl.Float32}).write_parquet(file, compression="zstd", compression_level=19)
    print(f"{frame.height} words in {file.name}; the bias is {float(bias) / count!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--peers", action="store_true")
    given = parser.parse_args()
    make() if given.make else measure(given.peers)
