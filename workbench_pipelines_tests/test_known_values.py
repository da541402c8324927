"""What a tagged column holds is found as names, numbers and days are written: in scripts without blanks, joined, and apart."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.known_values import forms_of, known_spans
from workbench_pipelines.personal_data import KNOWN_VALUE
from workbench_pipelines.personal_data_net import normal_value
from workbench_pipelines_tests.personal_data_sentences import labelled

HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=2, max_size=4)
HANGUL = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=2, max_size=4)
KANA = st.text(st.sampled_from("アイウカキクサシスタチツナニヌハヒフマミムガギグバパ"), min_size=2, max_size=5)
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=8)


def found(text: str, value: Any) -> list[str]:
    return [text[one.start : one.end] for one in known_spans(text, forms_of(value))]


@pytest.mark.parametrize(
    ("value", "text", "seen"),
    [
        ("王伟", "患者王伟因胸痛入院", "王伟"),
        ("田中", "担当の田中さんに電話した。", "田中"),
        ("さくら", "患者はさくらという。", "さくら"),
        ("タナカ", "ﾀﾅｶ様", "ﾀﾅｶ"),
        ("ガク", "ｶﾞｸさん", "ｶﾞｸ"),
        ("이수", "환자 이수는 왔다", "이수"),
        ("김민준", "어제 김민준이 왔다", "김민준"),
        ("김민준", unicodedata.normalize("NFD", "김민준이"), unicodedata.normalize("NFD", "김민준")),
        ("สมชาย", "นายสมชายมาโรงพยาบาล", "สมชาย"),
        ("山田 太郎", "患者は山田太郎です", "山田太郎"),
        ("山田 太郎", "山田　太郎様", "山田　太郎"),
        ("山田 がく", "がく 山田です", "がく 山田"),
        ("マイケル ジャクソン", "歌手マイケル・ジャクソンは", "マイケル・ジャクソン"),
        ("Mary Quill", "患者Mary Quillさん", "Mary Quill"),
        ("4711000815", "番号4711000815です", "4711000815"),
        ("王", "患者王因胸痛入院", None),
        ("이수", "환자 이순이 왔다", None),  # a syllable with one more sound is another one
        ("さき", "さぎが飛ぶ", None),
        ("ルミ", "ルミーが", None),
        ("王伟", "患者王某伟因", None),
    ],
)
def test_a_name_is_found_in_a_script_that_writes_no_blanks(value: str, text: str, seen: str | None) -> None:
    assert found(text, value) == ([seen] if seen else [])


@given(st.one_of(HAN, HANGUL, KANA), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_name_of_two_characters_is_found_between_others(name: str, form: Any) -> None:
    assert found(unicodedata.normalize(form, f"今日、{name}は"), name) == [unicodedata.normalize(form, name)]


@pytest.mark.parametrize(
    ("value", "text", "seen"),
    [
        ("Wu Li", "we saw WU LI today", "WU LI"),
        ("Wu Li", "we saw Li, Wu today", "Li, Wu"),
        ("Wu Li", "wu lift", None),
        ("Wu Li", "ewu li", None),
        ("A Li", "a li", None),
        ("Mary Quill", "file Mary-Quill.pdf", "Mary-Quill"),
        ("Mary Quill", "scan_mary_quill_2.pdf", "mary_quill"),
        ("Mary Quill", "write to mary.quill@example.org", "mary.quill"),
        ("Quill, Mary", "user quill.mary", "quill.mary"),
        ("Quill, Mary", "Quill,Mary;F;1973", "Quill,Mary"),
        ("Mary Quill", "Mary A. Quill came", "Mary A. Quill"),
        ("Mary Quill", "Quill, Mary A. came", "Quill, Mary"),
        ("Mary Quill", "mary_quillfeather", None),
        ("Mary Quill", "rosemary-quill", None),
        ("Mary Quill", "Mary and Quill", None),
        ("Mary Quill", "MaryQuill", None),
        ("Anne-Marie Dupont", "anne-marie.dupont", "anne-marie.dupont"),
    ],
)
def test_a_full_name_is_found_however_its_words_are_joined(value: str, text: str, seen: str | None) -> None:
    assert found(text, value) == ([seen] if seen else [])


@given(LETTERS, LETTERS, st.sampled_from([" ", "-", "_", ".", " x. ", " x "]))
def test_two_words_are_a_name_in_either_order(one: str, other: str, between: str) -> None:
    for first, last in ((one, other), (other, one)):
        assert f"{first}{between}{last}" in found(f"({first}{between}{last})", f"{one} {other}")


@pytest.mark.parametrize(
    ("value", "text", "seen"),
    [
        ("+491701234567", "call +49 170 1234567 now", "+49 170 1234567"),
        ("+49 170 1234567", "call +491701234567 now", "+491701234567"),
        ("+49 (170) 123-4567", "tel. 0049/170/1234567", None),
        ("(0170) 123 45 67", "tel. 0170/1234567.", "0170/1234567"),
        ("0170 1234567", "tel. (0170) 1234567.", "(0170) 1234567"),
        (1701234567, "tel. +49 170 123-45-67", "170 123-45-67"),
        ("170-1234567", "电话170 1234567转", "170 1234567"),
        ("1701234567", "17012345678", None),
        ("1701234567", "a1701234567", None),
        ("170 123", "170123 or 170 123", "170 123"),
        ("192.168.1.10", "host 192.168.11.0", None),
        ("192.168.1.10", "host 192.168.1.10", "192.168.1.10"),
        ("123.4567", "1234.567", None),
        ("1701234567", "170123, 4567", None),
    ],
)
def test_a_number_is_compared_by_its_digits(value: Any, text: str, seen: str | None) -> None:
    assert found(text, value) == ([seen] if seen else [])


def test_a_value_has_one_token_however_it_is_joined() -> None:
    ways = [
        ("Mary Quill", "quill, mary", "Mary-Quill", "mary_quill", "mary.quill", "Mary A. Quill"),
        ("+491701234567", "+49 170 1234567", "+49 (170) 123-4567"),
        ("山田 太郎", "山田太郎", "山田・太郎"),
        ("1973-06-18", "1973年6月18日", "1973-Jun-18", "18 / 06 / 1973"),
    ]
    tokens = [{normal_value(KNOWN_VALUE, way) for way in same} for same in ways]
    assert all(len(each) == 1 for each in tokens)
    assert len(set.union(*tokens)) == len(ways)


def test_in_the_labelled_texts_nothing_is_found_but_what_is_marked() -> None:
    values = sorted({one.known for one in labelled() if one.known})
    everybody = sorted({form for value in values for form in forms_of(value)})
    numbers = forms_of(["+491701234567", "1973-06-18", "王伟", "Wu Li", "이수"])
    for one in labelled():
        marked = {(start, end) for kind, start, end in one.spans if kind == KNOWN_VALUE}
        mine = {(span.start, span.end) for span in known_spans(one.text, forms_of(one.known))}
        assert mine == marked, one.text
        if not one.spans:
            assert known_spans(one.text, [*everybody, *numbers]) == [], re.sub(r"\s+", " ", one.text)
