"""The net of personal data by itself: policies, known values, masks and tokens, with no recogniser but two simple ones."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, strategies as st

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.pseudonym_key import KEY_FILE, pseudonym_of
from workbench_pipelines.edited_inputs import editor_of
from workbench_pipelines.errors import ArgumentError, DefinitionError, MissingPart
from workbench_pipelines.gates import judge
from workbench_pipelines.generation import Model, draft_pairs
from workbench_pipelines.known_values import forms_of, known_spans, known_values
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.netted_rows import netted_labels, netted_prompts, what_stands
from workbench_pipelines.netting import net_of, netted_decisions
from workbench_pipelines.pairs import label_pairs
from workbench_pipelines.personal_data import ACTIONS, FLAG, KINDS, Policy, Span, regions, strictest_policy, surest
from workbench_pipelines.personal_data_net import Blocked, Net, normal_value
from workbench_pipelines.policy_history import keep_policies
from workbench_pipelines.prompts import Rendered, render_prompts
from workbench_pipelines.settings import CHECKOUT, settings_from
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.pair_world import SCHEMA, ledger, make_decision, make_generated, make_rendered
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, put, sheet, template, tickets, training_sheet

FORMS = {"US_SSN": re.compile(r"\d{3}-\d\d-\d{4}"), "MRN": re.compile(r"(?<=mrn: )\d{8}|(?<=MRN: )\d{8}")}
policies = st.builds(
    Policy, st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from(KINDS), st.sampled_from(ACTIONS))
)


def detect(texts: Iterable[str]) -> Mapping[str, list[Span]]:
    return {
        text: [Span(kind, *one.span(), 0.9) for kind, form in FORMS.items() for one in form.finditer(text)]
        for text in texts
    }


def make_net(default: str = FLAG, known: Mapping[str, Any] | None = None, **entities: str) -> Net:
    items = pl.DataFrame({"item_ref": list(known or {"a": ""}), "name": list((known or {"a": ""}).values())})
    return Net(Policy(default, entities), detect, lambda kind, value: "3f9a1c2b", known_values(items, ["name"]))


# --- policies


@given(policies, policies)
def test_of_two_policies_the_stricter_action_counts_for_every_kind(one: Policy, other: Policy) -> None:
    both = strictest_policy([one, other])
    for kind in KINDS:
        assert ACTIONS.index(both.action(kind)) == max(ACTIONS.index(each.action(kind)) for each in (one, other))
    assert both.content == strictest_policy([other, one]).content == strictest_policy([both, one]).content


def test_without_a_statement_nothing_is_but_flagged() -> None:
    catalog = make_catalog(sheet())
    assert catalog.personal_data("tickets").acting == frozenset()
    assert not catalog.states_personal_data("tickets")


def test_a_sheet_may_be_stricter_than_the_project_and_never_laxer() -> None:
    house = make_document("UsagePolicy", "house", personal_data={"default": "mask", "entities": {"US_SSN": "block"}})
    own = {"entities": {"US_SSN": "flag", "MRN": "block"}}
    policy = make_catalog(house, sheet(personal_data=own)).personal_data("tickets")
    assert [policy.action(kind) for kind in ("US_SSN", "MRN", "NPI")] == ["block", "block", "mask"]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            {"entities": {"US_SNN": "block"}},
            "'US_SNN' is no kind of personal data that is looked for; did you mean 'US_SSN'?",
        ),
        ({"entities": {"US_SSN": "hide"}}, "'flag', 'pseudonymise', 'mask' or 'block'"),
        ({"defualt": "mask"}, "unknown field; did you mean 'default'?"),
    ],
)
def test_a_wrong_statement_is_an_error_that_names_what_is_near(said: dict[str, Any], line: str) -> None:
    catalog = make_catalog(make_document("UsagePolicy", "house", personal_data=said))
    with pytest.raises(DefinitionError, match=re.escape(line)):
        catalog.personal_data()


# --- where it stands


spans_anywhere = st.builds(
    lambda kind, start, length, score: Span(kind, start, start + length, score),
    st.sampled_from(KINDS),
    st.integers(0, 30),
    st.integers(1, 12),
    st.sampled_from([0.4, 0.85, 1.0]),
)


@given(st.lists(spans_anywhere, max_size=8), policies)
def test_regions_cover_everything_that_is_acted_on_and_never_overlap(spans: list[Span], policy: Policy) -> None:
    kept = surest(spans)
    found = regions(kept, policy)
    covered = {place for one in found for place in range(one.start, one.end)}
    acted = {place for one in kept if policy.action(one.kind) != FLAG for place in range(one.start, one.end)}
    assert covered == acted
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("Mary Quill", "MARY  quill, who", "MARY  quill"),
        ("Mary Quill", "Quill, Mary came", "Quill, Mary"),
        ("Quill, Mary", "for mary\nquill.", "mary\nquill"),
        ("Jürgen Groß", "JÜRGEN GROSS kam", "JÜRGEN GROSS"),
        ("José Peña", "Jose\u0301 Pen\u0303a!", "Jose\u0301 Pen\u0303a"),
        ("Mary Quill", "Ma\u200dry Quill", "Ma\u200dry Quill"),
        ("Mary Quill", "Mary Quillfeather", None),
        ("Mary Quill", "Rosemary Quill", None),
        ("Lee", "Lee came", None),
        ("4711000815", "no. 4711000815!", "4711000815"),
        (4711000815, "no. 4711000815!", "4711000815"),
        ("Mary Quill", "", None),
        (None, "None came", None),
        (True, "True enough", None),
    ],
)
def test_a_known_value_is_found_however_it_is_written_and_in_no_longer_word(
    value: Any, text: str, found: str | None
) -> None:
    spans = known_spans(text, forms_of(value))
    assert [text[one.start : one.end] for one in spans] == ([found] if found else [])


@given(st.text(max_size=40), st.text(alphabet="abÄß é\u0301X-", min_size=5, max_size=20), st.text(max_size=40))
def test_a_known_value_between_blanks_is_always_found(before: str, value: str, after: str) -> None:
    forms = forms_of(value)
    spans = known_spans(f"{before} ; {value} ; {after}", forms)
    assert bool(spans) == bool(forms)


def test_an_item_that_is_derived_knows_what_its_parent_knows() -> None:
    net = make_net(known={"a": "Mary Quill", "b": "Anna Feather"}, KNOWN_VALUE="mask")
    assert net.text("Mary Quill", "a#2#1") == "<KNOWN_VALUE>"
    assert net.text("Mary Quill", "b") == "Mary Quill"


# --- what is done


def test_each_action_does_what_it_says() -> None:
    said = "SSN 123-45-6789"
    assert make_net(US_SSN="flag").text(said, "a") == said
    assert make_net(US_SSN="mask").text(said, "a") == "SSN <US_SSN>"
    assert make_net(US_SSN="pseudonymise").text(said, "a") == "SSN <US_SSN_3f9a1c2b>"
    with pytest.raises(Blocked) as error:
        make_net(US_SSN="block").text(said, "a", "note")
    assert str(error.value) == "US_SSN in note: its policy blocks it"


@given(
    st.lists(
        st.sampled_from(["123-45-6789", "MRN: 12345678", "Mary Quill", "a word", "<MRN>", "<", "_", "12345678", "\n"])
    )
)
def test_what_left_once_is_left_alone_and_holds_nothing_more(parts: list[str]) -> None:
    net = make_net("mask", known={"a": "Mary Quill"}, MRN="pseudonymise")
    once = net.text(" ".join(parts), "a")
    assert net.text(once, "a") == once
    assert net.acting(once, "a") == []
    assert "Mary Quill" not in once
    assert "123-45-6789" not in once


def test_nothing_is_found_inside_a_token() -> None:
    digits = re.compile(r"\d{7}")

    def seven(texts: Iterable[str]) -> Mapping[str, list[Span]]:
        return {text: [Span("PHONE_NUMBER", *one.span(), 0.9) for one in digits.finditer(text)] for text in texts}

    net = Net(Policy("pseudonymise"), seven, lambda kind, value: "a1234567")
    once = net.text("call 7654321 now", "a")
    assert once == "call <PHONE_NUMBER_a1234567> now"
    assert net.text(once, "a") == once


def test_a_token_of_a_laxer_policy_is_held_to_the_one_of_today() -> None:
    said = "asked <MRN_3f9a1c2b> and <MRN>"
    assert make_net(US_SSN="mask").text(said, "a") == said
    assert make_net(MRN="pseudonymise").text(said, "a") == said
    assert make_net(MRN="mask").text(said, "a") == "asked <MRN> and <MRN>"
    assert make_net(MRN="mask").acting(["asked <MRN>"], "a") == []
    with pytest.raises(Blocked):
        make_net(MRN="block").text(said, "a")
    assert make_net(MRN="block").text("asked <MRN>", "a") == "asked <MRN>"
    assert [make_net(MRN=action).blocked_masks(said) for action in ACTIONS] == [[], [], [], ["MRN"]]


def test_a_number_in_angle_brackets_is_no_token() -> None:
    assert make_net(US_SSN="mask").text("<US_SSN_123-45-6789>", "a") == "<US_SSN_<US_SSN>>"


def test_the_name_of_a_field_says_what_its_value_is() -> None:
    net = make_net(MRN="mask")
    assert net.value({"mrn": "12345678", "total": "12345678"}, "a") == {"mrn": "<MRN>", "total": "12345678"}
    assert net.value({"mrn": 12345678, "total": 12345678}, "a") == {"mrn": "<MRN>", "total": 12345678}


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("MRN", "00-123 456", "00123456", True),
        ("KNOWN_VALUE", "QUILL,  Mary", "mary quill", True),
        ("EMAIL_ADDRESS", "Ann@Example.org", "ann@example.org", True),
        ("IP_ADDRESS", "1.11.1.1", "11.1.1.1", False),
        ("KNOWN_VALUE", "1973-06-18", "18. Juni 1973", True),
        ("KNOWN_VALUE", "1973-06-18 00:00:00", "6/18/1973", True),
        ("KNOWN_VALUE", "1973-06-18", "19 June 1973", False),
    ],
)
def test_a_value_has_one_name_however_it_is_written(kind: str, one: str, other: str, same: bool) -> None:
    assert (normal_value(kind, one) == normal_value(kind, other)) == same


# --- rows


TEMPLATE = {
    "version": "1.0.0",
    "status": "published",
    "label_type": "t",
    "user_prompt_template": "{{ x }}",
    "output_schema": [{"name": "answer", "type": "string"}],
}


def rendered(
    net: Net,
    item: dict[str, Any],
    attribute_columns: tuple[str, ...] = (),
    taken: dict[str, Any] | None = None,
    **spec: Any,
) -> Rendered:
    """The prompt of one item that these columns are of."""
    sheet_of = make_document("TrainingSheet", "ts", sheet="s", template="t", **(taken or {}))
    catalog = make_catalog(sheet_of, make_document("PromptTemplate", "t", **{**TEMPLATE, **spec}))
    row = {"item_ref": "a", "item_hash": "h", "row_tags": [], "usage_statements": "[]", **item}
    snapshot = pl.DataFrame([row], schema_overrides={"row_tags": pl.List(pl.String)})
    asked = catalog.template("t")
    compiled = compile_template(asked, {}, "t")
    given: dict[str, Any] = {"attribute_columns": attribute_columns, "net": net, "where": "s"}
    return render_prompts(catalog.training_sheet("ts"), asked, compiled, snapshot, **given)


def test_what_the_words_of_a_template_give_away_is_masked_in_the_inputs_as_well() -> None:
    prompts = rendered(make_net(), {"x": "12345678"}, user_prompt_template="MRN: {{ x }}").frame
    (row,) = netted_prompts(prompts, make_net(MRN="mask"))[0].to_dicts()
    assert (row["messages"][0]["content"], row["inputs"]) == ("MRN: <MRN>", '{"x":"<MRN>"}')
    assert row["prompt_hash"] != prompts["prompt_hash"][0]
    kept, refused = netted_prompts(prompts, make_net(MRN="block"))
    assert kept.is_empty()
    said = "the prompt shows MRN in the text: its policy blocks it"
    assert refused.select("reason", "detail").rows() == [("personal_data", said)]


def test_a_number_that_would_be_masked_is_not_shown_at_all() -> None:
    spec = {"user_prompt_template": "{{ mrn }}", "input_schema": [{"name": "mrn", "type": "integer"}]}
    found = rendered(make_net(MRN="mask"), {"mrn": 12345678}, **spec)
    assert found.frame.is_empty()
    (refused,) = found.refusals.to_dicts()
    assert refused["reason"] == "personal_data"
    assert refused["detail"].startswith("masked: mrn")


def test_an_attribute_with_personal_data_groups_by_its_digest_and_is_no_attribute_otherwise() -> None:
    item = {"x": "q", "ssn": "123-45-6789", "other": "123-45-6789", "city": "Lyon"}
    found = rendered(make_net(US_SSN="mask"), item, ("ssn",)).frame
    (attributes,) = map(json.loads, found["attributes"])
    assert set(attributes) == {"ssn", "city"}
    assert attributes["ssn"].startswith("sha256:")


def test_without_a_net_a_prompt_is_the_same_as_with_one_that_finds_nothing() -> None:
    item = {"x": "the pump stops", "city": "Lyon"}
    nothing = rendered(make_net("block"), item).frame
    assert netted_prompts(nothing, make_net("block"))[0].equals(nothing)
    assert rendered(make_net(), item).frame.equals(nothing)


@pytest.mark.parametrize("action", ["flag", "mask", "block"])
def test_a_label_and_its_note_leave_as_the_policy_says(action: str) -> None:
    said = json.dumps({"answer": "SSN 123-45-6789"})
    labels = fold_labels(ledger(make_decision(label_data=said, notes="her SSN is 123-45-6789")), None)
    kept, refused = netted_labels(labels, make_net(US_SSN=action))
    assert refused.height == (action == "block")
    assert ("123-45-6789" in json.dumps([*kept["notes"], *kept["label_data"], *refused["notes"]])) == (action == "flag")


@pytest.mark.parametrize(("action", "shown"), [("flag", "SSN 123-45-6789"), ("mask", "SSN <US_SSN>"), ("block", "a")])
def test_an_edited_input_goes_through_the_net_and_a_blocked_one_changes_nothing(action: str, shown: str) -> None:
    prompts = make_rendered("a")
    changed = {"pair_id": prompts["pair_id"][0], "inputs": json.dumps({"x": "SSN 123-45-6789"})}
    said = ledger(make_decision(action="edit", label_data='{"answer":"no"}', **changed))
    asked = make_catalog(make_document("PromptTemplate", "t", **TEMPLATE)).template("t")
    given: dict[str, Any] = {"schema": SCHEMA, "trusted": False, "vocabulary": USES, "net": make_net(US_SSN=action)}
    given["edit"] = editor_of(asked, compile_template(asked, {}, "t"))
    drafts = make_generated(prompts, {"a": "no"})
    (pair,) = label_pairs(prompts, drafts, fold_labels(said, None), said, **given).to_dicts()
    assert json.loads(pair["inputs"]) == {"x": shown}
    assert ("123-45-6789" in json.dumps(pair, default=str)) == (action == "flag")
    if action == "block":
        assert pair["status"] == "flagged"


def test_an_edited_input_is_known_by_the_name_of_its_field() -> None:
    prompts = make_rendered("a").with_columns(inputs=pl.lit('{"mrn":"none"}'))
    changed = {"pair_id": prompts["pair_id"][0], "inputs": json.dumps({"mrn": "12345678"})}
    said = ledger(make_decision(action="edit", label_data='{"answer":"no"}', **changed))
    asked = make_catalog(
        make_document("PromptTemplate", "t", **TEMPLATE | {"user_prompt_template": "{{ mrn }}"})
    ).template("t")
    given: dict[str, Any] = {"schema": SCHEMA, "trusted": False, "vocabulary": USES, "net": make_net(MRN="mask")}
    given["edit"] = editor_of(asked, compile_template(asked, {}, "t"))
    (pair,) = label_pairs(
        prompts, make_generated(prompts, {"a": "no"}), fold_labels(said, None), said, **given
    ).to_dicts()
    assert (pair["inputs"], pair["messages"][-1]["content"]) == ('{"mrn":"<MRN>"}', "<MRN>")


def test_the_export_looks_at_every_pair_itself() -> None:
    prompts = make_rendered("a", "b")
    given: dict[str, Any] = {"schema": SCHEMA, "trusted": True, "vocabulary": USES}
    drafts = make_generated(prompts, {"a": "no", "b": "SSN 123-45-6789"}, "existing_column")
    pairs = label_pairs(prompts, drafts, fold_labels(ledger(), None), ledger(), **given)
    pairs = pairs.with_columns(split=pl.lit("train"))
    held = what_stands(pairs, make_net(US_SSN="mask"))
    older = "the pair is older than that: run its TrainingSheet again"
    assert list(held.values()) == [f"US_SSN in response.answer: the policy says mask; {older}"]
    blocked = what_stands(pairs, make_net(US_SSN="block"))
    assert list(blocked.values()) == ["US_SSN in response.answer: the policy says block"]
    why = pl.col("pair_id").replace_strict(held, default=None, return_dtype=pl.String)
    admitted, excluded = judge(pairs.with_columns(personal_data=why), USES)
    assert admitted["item_ref"].to_list() == ["a"]
    assert excluded.select("item_ref", "gate").rows() == [("b", "personal_data")]


def test_a_draft_that_an_edit_replaced_is_exported_as_it_may_leave() -> None:
    said = ledger(
        make_decision(action="edit", pair_id="p", proposed_response='{"answer":"SSN 123-45-6789"}'),
        make_decision("b", action="edit", pair_id="q", proposed_response="no JSON of 123-45-6789"),
    )
    left = netted_decisions({"s": make_net(US_SSN="mask")}, said).sort("pair_id")
    assert left["proposed_response"].to_list() == ['{"answer":"SSN <US_SSN>"}', "no JSON of <US_SSN>"]
    assert netted_decisions({"s": make_net(US_SSN="block")}, said).is_empty()
    assert netted_decisions({}, said).equals(said)


@pytest.mark.parametrize("column", [True, False])
def test_an_answer_of_a_column_leaves_as_the_policy_says(column: bool) -> None:
    spec = {"labeling_mode": "existing_column", "column": "answer"}
    item = {"x": "q", "answer": "SSN 123-45-6789" if column else "no"}
    (masked,) = rendered(make_net(US_SSN="mask"), item, taken=spec).frame.to_dicts()
    assert masked["column_response"] == ('{"answer":"SSN <US_SSN>"}' if column else '{"answer":"no"}')
    blocked = rendered(make_net(US_SSN="block"), item, taken=spec).frame
    sheet_of = make_catalog(make_document("TrainingSheet", "ts", sheet="s", template="t", **spec)).training_sheet("ts")
    asked = make_catalog(make_document("PromptTemplate", "t", **TEMPLATE)).template("t")
    drafts = draft_pairs(sheet_of, asked, blocked, {}, model=Model(""), answer=lambda questions, total: ())
    assert drafts.frame.height == (not column)
    assert drafts.refusals["reason"].to_list() == (["personal_data"] if column else [])


def test_a_chunk_holds_nothing_of_a_name_that_was_cut_through() -> None:
    text = "It was told to Mary Quillfeather in May, and to Mary Quillfeather in June."
    net = make_net(known={"a": "Mary Quillfeather"}, KNOWN_VALUE="mask")
    middle = text.index("Mary") + 4
    assert net.piece(text[:middle], text, 0, middle, "a#1") == "It was told to <KNOWN_VALUE>"
    assert net.piece(text[middle:], text, middle, len(text), "a#2").startswith(
        "<KNOWN_VALUE> in May, and to Mary Quillfeather"
    )
    overlap = text.index("Quillfeather")
    assert net.piece(text[overlap:60], text, 40, 60, "a#2") == "<KNOWN_VALUE> in May, and to <KNOWN_VALUE>"
    assert net.piece("| head |\n" + text[middle:50], text, middle, 50, "a#2").startswith(
        "| head |\n<KNOWN_VALUE> in May"
    )
    assert net.piece("a question", text, 3, 50, "a#2") == "a question"


# --- the key


def test_a_token_is_the_same_everywhere_and_another_with_another_key(tmp_path: Path) -> None:
    def token(folder: str, **environ: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        settings = settings_from({"WORKBENCH_PROJECT": str(tmp_path / folder), **environ})
        return pseudonym_of(settings, Lake(settings.lake), 1)("MRN", "00123456")

    key = "0123456789abcdef" * 4
    assert token("one", WORKBENCH_PSEUDONYM_KEY=key) == token("two", WORKBENCH_PSEUDONYM_KEY=key)
    assert token("three") == token("three") != token("four")
    assert re.fullmatch(r"(?=.*[a-f])[0-9a-f]{8}", token("three"))
    (tmp_path / "three" / ".workbench" / KEY_FILE).unlink()
    with pytest.raises(MissingPart, match="made with another key"):
        token("three")


def test_a_new_key_takes_a_new_key_version(tmp_path: Path) -> None:
    settings = settings_from({"WORKBENCH_PROJECT": str(tmp_path)})
    lake = Lake(settings.lake)
    one, two = (pseudonym_of(settings, lake, version)("MRN", "1") for version in (1, 2))
    assert one != two
    assert pseudonym_of(settings, lake, 1)("MRN", "1") == one


@pytest.mark.parametrize("key", ["short", "a" * 64])
def test_a_key_that_can_be_guessed_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ArgumentError) as error:
        settings_from({"WORKBENCH_PSEUDONYM_KEY": key})
    assert key not in str(error.value).split()
    assert key not in repr(settings_from({"WORKBENCH_PSEUDONYM_KEY": "0123456789abcdef" * 4}))


# --- projects


def test_a_policy_that_needs_presidio_fails_closed_without_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench_pipelines.clients.personal_data.importlib.util.find_spec", lambda name: None)
    house = make_document("UsagePolicy", "house", personal_data={"entities": {"US_SSN": "block"}})
    define(project, house, sheet(), training_sheet(column="team"), template())
    put(project, tickets(2))
    ran = project("preview", "drafted")
    assert ran.code == 3
    assert ran.err.strip() == (
        "workbench: Sheet tickets: personal_data says block of US_SSN, and presidio, which finds it, is not there; "
        "install the extra: .venv/bin/uv pip install -e '.[pii]'"
    )
    known = make_document("UsagePolicy", "house", personal_data={"entities": {"KNOWN_VALUE": "block"}})
    define(project, known, sheet(), training_sheet(column="team"), template())
    assert project("preview", "drafted").code == 0


def test_a_policy_that_only_flags_makes_no_net(project: Project) -> None:
    define(
        project,
        make_document("UsagePolicy", "house", personal_data={"default": "flag"}),
        sheet(),
        training_sheet(),
        template(),
    )
    workbench = project.workbench
    assert net_of(workbench, workbench.catalog(), "tickets") is None


def test_a_change_of_policy_is_on_record_with_what_changed(project: Project) -> None:
    for minute, said in enumerate(({"US_SSN": "mask"}, {"US_SSN": "block", "MRN": "mask"}, None)):
        stated = [make_document("UsagePolicy", "house", personal_data={"entities": said})] if said else []
        define(project, *stated, sheet(personal_data={"entities": {"NPI": "mask"}} if minute else None), template())
        workbench = project.workbench
        keep_policies(workbench, workbench.catalog(), "tickets", dt.datetime(2024, 5, 1, 12, minute, tzinfo=dt.UTC))
    audit = project.table("records", "usage_constraint_audit").sort("at", "subject")
    assert audit.select("subject", "reason").rows() == [
        ("personal_data", "personal_data: MRN flag -> mask, US_SSN mask -> block"),
        ("personal_data tickets", "personal_data: NPI flag -> mask"),
        ("personal_data", "taken out of the definitions"),
    ]


# --- the docs


def test_the_policy_that_the_docs_show_is_one_and_every_kind_and_action_is_explained() -> None:
    docs = (CHECKOUT / "docs/personal_data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", docs, re.S)
    policy = make_catalog(yaml.safe_load(block)).personal_data()
    assert {kind: policy.action(kind) for kind in ("US_SSN", "EMAIL_ADDRESS", "NPI")} == {
        "US_SSN": "block",
        "EMAIL_ADDRESS": "mask",
        "NPI": "flag",
    }
    assert [kind for kind in KINDS if f"`{kind}`" not in docs] == []
    assert re.findall(r"^\| `(\w+)` \| (?!\d)", docs, re.M)[:4] == list(ACTIONS)
