"""The words by which texts are compared: as between blanks, and character by character where a script writes none."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.alike_items import find_alike
from workbench_pipelines.compared_words import words_in, words_of
from workbench_pipelines.crossing_duplicates import crossing_near_duplicates
from workbench_pipelines.duplicates import NEAR_DUPLICATE, jaccard, near_duplicates, shingles_of
from workbench_pipelines.few_shot import near_duplicates as gives_away, shingles
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.split_leaks import crossing_pairs
from workbench_pipelines.split_texts import text_of

# Each text beside the same one with one word of it changed, and a text of the same length about something else.
CHINESE = (
    "患者于三月十八日因持续胸痛入院，心电图显示下壁导联抬高，立即给予阿司匹林和氯吡格雷治疗。",
    "心电图",
    "超声波",
)
JAPANESE = (
    "患者は三日前から続く胸の痛みを訴えて来院し、心電図で異常が見つかったためすぐに入院となった。",
    "三日前",
    "五日前",
)
THAI = (
    "ผู้ป่วยมาโรงพยาบาลด้วยอาการเจ็บหน้าอกมาสามวันและแพทย์ตรวจคลื่นไฟฟ้าหัวใจพบความผิดปกติจึงรับไว้รักษา",
    "สามวัน",
    "ห้าวัน",
)
EMOJI = ("🎉🎂🎈🥳🍰🎁🕯️👏🙌🎊✨🍾🥂🎶💃🕺🎤🎧📸🎬", "✨", "⭐")
MARKS = ("-.-. --- -.. . / .- -. -.. / ... .. --. -. .- .-.. ...", "/ .- -", "/ .. -")
ELSEWHERE = {
    CHINESE: "本公司将于下周一召开年度股东大会，请各位股东携带身份证件准时出席，并提前阅读会议材料全文。",
    JAPANESE: "当社は来週の月曜日に定時株主総会を開催いたしますので、皆様のご出席をお願い申し上げます。",
    THAI: "บริษัทจะจัดประชุมผู้ถือหุ้นประจำปีในวันจันทร์หน้าขอเชิญทุกท่านเข้าร่วมและอ่านเอกสารล่วงหน้า",
    EMOJI: "🐶🐱🐭🐹🐰🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧🐦🐤🦆",
    MARKS: "<<<>>> [[[]]] {{{}}} ((())) ### $$$ %%% &&& *** +++",
}
KINDS = pytest.mark.parametrize(("text", "part", "other"), list(ELSEWHERE), ids=["zh", "ja", "th", "emoji", "marks"])

LATIN = st.text(st.characters(max_codepoint=0x36F) | st.sampled_from("ẞﬁ’„ạ ½②"), max_size=40)
ANY = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("東京ターのที่क्षिقُ🎉️‍e\u0301 a_7"), max_size=30)


def frame(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"p{at}" for at in range(len(texts))], "text": texts})


def asks(text: str) -> str:
    return canonical_text({"note": text})


@given(LATIN)
def test_latin_texts_have_the_words_they_always_had(text: str) -> None:
    plain = unicodedata.normalize("NFKC", text.replace("\u00ad", ""))
    if words := re.findall(r"\w+", plain.lower().replace("ß", "ss").replace("ς", "σ")):
        assert words_of(text) == words
    if plain == text and "ß" not in text.lower() and (words := re.findall(r"\w+", text.lower())):
        assert words_of(text) == words


@settings(deadline=None)
@given(ANY, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_text_has_the_same_words_in_every_normal_form(text: str, form: Any) -> None:
    assert words_of(unicodedata.normalize(form, text)) == words_of(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Das Gef\u00e4\u00df ist sehr gro\u00df", "DAS GEFA\u0308SS IST SEHR GROSS"),
        ("Donaudampfschifffahrt", "Donau\u00addampf\u00adschi\ufb00ahrt".replace("\ufb00", "f\ufb00")),
        ("Ｐａｔｉｅｎｔ　１２３", "patient 123"),
        ("ﾀﾅｶｶﾞｸ", "タナカガク"),
        ("ΟΔΥΣΣΕΥΣ", "Οδυσσευς"),
        ("zero\u200bwidth", "zerowidth"),
        ("한국어", unicodedata.normalize("NFD", "한국어")),
    ],
)
def test_texts_that_read_the_same_have_the_same_words(one: str, other: str) -> None:
    assert words_of(one) == words_of(other) == words_in(pl.Series([other, "a", one]))[0].to_list()


def test_a_text_is_alike_itself_in_another_normal_form() -> None:
    texts = [f"Die {at}. Ärztin prüft, ob Müßiggang für größere Übel nützt: {at * 7} Fälle" for at in range(200)]
    both = [asks(unicodedata.normalize(form, text)) for text in texts for form in ("NFC", "NFD")]
    alike = find_alike(pl.DataFrame({"pair_id": [str(at) for at in range(400)], "inputs": both}), 0.9)
    assert alike.of_pair["text"][::2].to_list() == alike.of_pair["text"][1::2].to_list()
    assert alike.texts.height == 200


@settings(deadline=None)
@given(st.lists(ANY, max_size=5))
def test_a_text_has_the_same_words_alone_and_among_others(texts: list[str]) -> None:
    series = pl.Series("said", texts, dtype=pl.String)
    assert words_in(series).to_list() == [words_of(text) for text in texts]
    assert words_in(series).name == "said"


@settings(deadline=None)
@given(ANY)
def test_the_words_of_words_are_the_same(text: str) -> None:
    assert words_of(" ".join(words_of(text))) == words_of(text)


def test_a_character_is_a_word_where_a_script_has_no_blanks() -> None:
    assert words_of("東京タワー2024年 Hello") == ["東", "京", "タ", "ワ", "ー", "2024", "年", "hello"]
    assert words_of("ที่นี่") == ["ที่", "นี่"]
    assert words_of("한국어 단어") == ["한국어", "단어"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"]


def test_a_text_without_words_has_what_can_be_seen_of_it() -> None:
    assert words_of("❤️ 👩‍⚕️!") == ["❤", "👩", "⚕", "!"]
    assert words_of("ok 👍") == ["ok"]
    assert words_of(" \u200b\ufe0f\n") == []


@KINDS
def test_texts_that_are_nearly_the_same_are_alike_in_any_script(text: str, part: str, other: str) -> None:
    key = (text, part, other)
    near = text.replace(part, other)
    assert near != text
    found = near_duplicates(frame(text, near, ELSEWHERE[key], text + "  "))
    assert {"p0", "p1"} < set(found["a"]) | set(found["b"])
    assert "p2" not in set(found["a"]) | set(found["b"])
    assert jaccard(shingles_of(text), shingles_of(near)) >= NEAR_DUPLICATE
    assert crossing_near_duplicates(
        pl.DataFrame({"name": ["a", "b", "c"], "text": [text, near, ELSEWHERE[key]], "sides": [1, 2, 4]}), 0.7
    ).select("a", "b").rows() == [("a", "b")]


@KINDS
def test_splits_their_check_and_prompts_take_the_same_texts_to_be_alike(text: str, part: str, other: str) -> None:
    key = (text, part, other)
    inputs = [asks(text), asks(text.replace(part, other)), asks(ELSEWHERE[key])]
    pairs = pl.DataFrame({"pair_id": ["a", "b", "c"], "inputs": inputs})
    alike = find_alike(pairs, 0.7)
    assert len(alike.links) == 1
    splits = pl.DataFrame({"pair_id": ["a", "b", "c"], "split": ["train", "test", "val"]})
    assert alike.crossing(splits) == alike.links
    assert crossing_pairs(pairs.with_columns(splits["split"]), 0.7)[0] == 1
    assert gives_away(shingles(inputs[0]), shingles(inputs[1]))
    assert not gives_away(shingles(inputs[0]), shingles(inputs[2]))


@given(text=ANY)
def test_a_text_that_shows_anything_is_like_its_copy(text: str) -> None:
    found = near_duplicates(frame(text, text))
    assert found.height == (1 if words_of(text) else 0)
    if words_of(text):
        assert near_duplicates(frame(text, f"\n{text} ")).height == 1
        assert crossing_pairs(pl.DataFrame({"split": ["train", "test"], "inputs": [asks(text)] * 2}), 0.7)[0] == 1


def test_what_a_pair_binds_is_compared_as_it_was() -> None:
    assert text_of(canonical_text({"b": [1.5, "Née  Müller-Lüdenscheid"], "a": {"x": None, "y": True}})) == (
        "true 1_5 née müller lüdenscheid"
    )
    assert text_of(canonical_text({"a": "🎉", "b": "!"})) == "🎉 !"
    assert text_of(canonical_text({"a": "🎉", "b": 0})) == "0"
