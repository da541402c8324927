"""Scripts in which a name has no blanks around it, in folded texts: what is of them, and what goes on with a character.

Han, Kana, Bopomofo, Thai and its neighbours write no blanks (`compared_words`). Hangul writes some, but particles follow a name at
once (김민준이). Folded, a syllable of Hangul is the letters that it is made of (NFKD), so that `이수` begins `이순`; Kana are voiced
by marks, and vowels and tones of Thai are marks. A character that such a one follows is another one without it.
"""

from __future__ import annotations

import re

_KANA_MARKS = "\u3099\u309a"
UNBROKEN = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf"  # Thai to Tai Tham, letters of Hangul
    "\u3005-\u3007\u3041-\u30fa\u30fc-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"  # Kana, Bopomofo, Han
    "\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
"""Of a class in a regular expression: the characters of these scripts, and of few others beside them."""

MARKS = f"{_KANA_MARKS}\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102d-\u1030\u1032-\u1037\u1039\u103a"
"""The same of marks that tell one word from another, as no accent does."""

_UNBROKEN = re.compile(f"[{UNBROKEN}]")
_MARK = re.compile(f"[{MARKS}]")
# Vowels and final consonants of a syllable of Hangul, and the sign that makes a vowel of Kana long.
_GOES_ON = re.compile(f"[{MARKS}\u1160-\u11ffー]")


def is_unbroken(character: str) -> bool:
    return character >= "\u0e00" and _UNBROKEN.match(character) is not None


def is_mark(character: str) -> bool:
    return character >= "\u0e00" and _MARK.match(character) is not None


def goes_on(character: str) -> bool:
    """Whether a character is of the same syllable or word as the one before it."""
    return character >= "\u0e00" and _GOES_ON.match(character) is not None


def characters_in(text: str) -> int:
    """How many characters of these scripts a text has as a reader counts them."""
    return sum(one.isalnum() and is_unbroken(one) and not goes_on(one) for one in text)
