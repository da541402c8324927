"""The words by which texts are compared: those between blanks and marks, and single characters where a script has no blanks.

A text is compared by its runs of words (shingles: Broder, *On the resemblance and containment of documents*, 1997). What a word is
says Unicode's Standard Annex 29, and also where that says nothing: Chinese, Japanese, Thai, Lao, Khmer, Burmese and the other
scripts of South East Asia write none apart, and telling them takes a dictionary (its section 4; line breaking class SA of Annex
14). There each character with its marks is a word, so that a run of three words is one of three characters, as is common for
these scripts. Texts that read the same have the same words: they are compared in NFKC (Standard Annex 15) and folded, without the
characters that show nothing, such as soft hyphens. A text without any word, of emoji or of marks, is compared by what can be seen of
it, character by character.
"""

from __future__ import annotations

import re
import unicodedata

import polars as pl

_UNBROKEN = (
    r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Bopomofo}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}"
)
# Of Devanagari, Arabic or Thai a mark is part of its word (rule WB4). The accents that Latin, Greek and Cyrillic letters carry
# part words where they are written apart from their letter, as they always did here: what was found alike stays so.
_MARKS = r"[\p{M}--[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]]"
_LETTER = r"\p{L}\p{N}_"
_WORD = (
    rf"[[\p{{L}}\p{{N}}]&&[{_UNBROKEN}]]{_MARKS}*|"
    rf"[[{_LETTER}]--[{_UNBROKEN}]][[{_LETTER}]{_MARKS}--[{_UNBROKEN}]]*"
)
# What most texts come out the same by, in half the time.
_PLAIN_WORD = rf"[{_LETTER}]+"
_NOT_PLAIN = rf"[{_UNBROKEN}\p{{M}}]"
_SEEN = r"[^\s\p{M}\p{Cc}\p{Cf}]"
_ASCII_WORD = re.compile(r"\w+")
# What folding changes in small letters: ß is ss, the last ς of a word σ. All of them stand this early, but for the Cherokee letters.
_FOLDED = {
    small: folded
    for small in map(chr, range(0x80, 0x2000))
    if small == small.lower() == unicodedata.normalize("NFKC", small)
    and not unicodedata.name(small, "").startswith("CHEROKEE")
    and (folded := unicodedata.normalize("NFKC", small.casefold())) != small
}

SAYS_SOMETHING = _SEEN
"""A pattern, for polars, of the texts that have any word; one of blanks or of characters that nobody sees has none."""


def words_in(texts: pl.Series) -> pl.Series:
    """The words of each text in small letters, a list for each; empty for one in which nothing can be seen.

    Args:
        texts: without nulls.
    """
    small = _folded(texts)
    found = small.str.extract_all(_WORD if small.str.contains(_NOT_PLAIN).any() else _PLAIN_WORD)
    without = found.list.len() == 0
    if not without.any():
        return found
    rest = pl.DataFrame({"found": found, "text": small, "without": without}).with_columns(
        seen=pl.when("without").then("text").otherwise(pl.lit("")).str.extract_all(_SEEN)
    )
    return rest.select(pl.when("without").then("seen").otherwise("found").alias(texts.name)).to_series()


def _folded(texts: pl.Series) -> pl.Series:
    """The texts in small letters and in one normal form; those of ASCII alone are in it as they are."""
    small = texts.str.to_lowercase()
    wide = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if wide.is_empty():
        return small
    seen = texts.gather(wide).str.replace_all(r"\p{Cf}+", "").str.normalize("NFKC")
    # Again, as what was folded may stand before a mark that it can carry.
    folded = seen.str.to_lowercase().str.replace_many(_FOLDED).str.normalize("NFKC")
    return small.scatter(wide, folded)


def words_of(text: str) -> list[str]:
    """The words of one text, as `words_in` gives them."""
    if text.isascii() and (found := _ASCII_WORD.findall(text.lower())):
        return found
    return list(words_in(pl.Series([text], dtype=pl.String))[0])
