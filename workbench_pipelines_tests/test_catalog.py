"""Definitions are files: what is wrong is said in one line, and what is right stays usable beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench_pipelines.catalog import Catalog, ProjectFile, load_catalog, version_key
from workbench_pipelines.errors import DefinitionError

SHEET = """
apiVersion: workbench/v1
kind: Sheet
metadata: {name: iris}
spec: {primary_table: iris.csv, item_ref: flower}
"""
TRAINING_SHEET = """
apiVersion: workbench/v1
kind: TrainingSheet
metadata: {name: measured, owner: "team:botany"}
spec: {sheet: iris, template: species}
"""
COLLECTION = """
apiVersion: workbench/v1
kind: Collection
metadata: {name: flowers}
spec: {members: [{training_sheet: measured, weight: 2}]}
"""


def template(version: str = "1.0.0", status: str = "published", prompt: str = "Which?", name: str = "species") -> str:
    return f"""
apiVersion: workbench/v1
kind: PromptTemplate
metadata: {{name: {name}}}
spec:
  version: "{version}"
  status: {status}
  label_type: iris_species
  user_prompt_template: "{prompt}"
  output_schema: [{{name: species, enum: [setosa, virginica]}}]
"""


def catalog(*documents: str) -> Catalog:
    return load_catalog([ProjectFile("sheets/all.yaml", "\n---\n".join(documents))])


def problems(*documents: str) -> list[str]:
    return [problem.line for problem in catalog(*documents).problems]


def test_documents_of_a_file_are_found_by_kind_and_name() -> None:
    found = catalog(SHEET, TRAINING_SHEET, template())
    assert found.problems == ()
    assert found.sheet("iris").spec.key_columns == ("flower",)
    assert found.names("TrainingSheet") == ["measured"]
    assert found.file_of("Sheet", "iris") == "sheets/all.yaml"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("item_ref:", "item_reff:", "Sheet iris: spec.item_reff: unknown field; did you mean 'item_ref'?"),
        ("spec: {", "spec: {filter_conditon: a, ", "filter_conditon: unknown field; did you mean 'filter_condition'?"),
        ("spec: {", "spec: {sample: {size: 5, methd: x}, ", "spec.sample.methd: unknown field; did you mean 'method'?"),
        ("spec: {", "spec: {columns: {a: {tag: [PHI]}}, ", "spec.columns.a.tag: unknown field; did you mean 'tags'?"),
        ("metadata: {", "metadata: {onwer: x, ", "metadata.onwer: unknown field; did you mean 'owner'?"),
        ("item_ref: flower", "usage: {}", "Sheet iris: spec.item_ref: this field is needed"),
        ("kind: Sheet", "kind: Shet", "kind 'Shet' is unknown; did you mean 'Sheet'?"),
        ("kind: Sheet", "", "a document needs `kind`"),
        ("workbench/v1", "workbench/v2", "Sheet iris: apiVersion:"),
        ("spec: {", "spec: {sample: {size: 0}, ", "spec.sample.size:"),
        ("spec: {", "spec: {sample: {size: 5, method: stratified}, ", "`by` names the stratum column"),
        ("spec: {primary_table: iris.csv", "spec: {primary_table: 7", "spec.primary_table: 7 is a number; quote it"),
        ("{name: iris}", "{name: iris, name: rose}", "line 4: the key 'name' stands twice"),
        ("{name: iris}", "{name: iris", "line 5:"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_one_line_that_names_file_and_field(old: str, new: str, line: str) -> None:
    found = problems(SHEET.replace(old, new, 1))
    assert any(line in problem for problem in found), found
    assert all(problem.startswith("sheets/all.yaml: ") and "\n" not in problem for problem in found)


@pytest.mark.parametrize("name", ["Iris", "-iris", "iris|2", "iris,2", "a..b", "../iris", "iris/2", "íris", "a b"])
def test_a_name_that_breaks_partitions_or_folders_is_refused(name: str) -> None:
    found = catalog(SHEET.replace("iris}", f"'{name}'}}"))
    assert found.names("Sheet") == []
    assert len(found.problems) == 1
    assert "is no usable name" in found.problems[0].line


def test_a_number_for_a_name_or_a_version_is_to_be_quoted() -> None:
    assert "7 is a number; quote it" in problems(SHEET.replace("name: iris", "name: 7"))[0]
    assert "1.2 is a number; quote it" in problems(template().replace('"1.0.0"', "1.2"))[0]
    assert "spec.version" in problems(template(version="1.0"))[0]


def test_a_broken_document_leaves_the_others_and_keeps_its_own_name() -> None:
    found = catalog(SHEET, TRAINING_SHEET.replace("sheet: iris", "shet: iris"), template(), COLLECTION + "  x: [")
    assert found.sheet("iris").name == "iris"
    assert found.template("species").spec.version == "1.0.0"
    assert found.names("TrainingSheet") == ["measured"]
    assert found.names("Collection") == ["flowers"]
    with pytest.raises(
        DefinitionError, match=r"TrainingSheet measured: spec.shet: unknown field; did you mean 'sheet'"
    ):
        found.training_sheet("measured")
    with pytest.raises(DefinitionError, match="Collection flowers"):
        found.collection("flowers")


def test_a_broken_yaml_text_is_placed_by_its_line_in_the_file() -> None:
    (line,) = problems(SHEET, "kind: Sheet\nmetadata: {name: rose}\nspec: [")
    assert line.startswith("sheets/all.yaml: Sheet rose: line ")
    assert int(line.split("line ")[1].split(":")[0]) in (10, 11)


def test_comments_and_empty_documents_are_nothing() -> None:
    assert catalog("# only words", "", SHEET, "# the end").names("Sheet") == ["iris"]


def test_two_documents_of_one_name_are_told_and_two_versions_of_a_template_are_not() -> None:
    assert problems(template("1.0.0"), template("1.1.0")) == []
    assert problems(SHEET, SHEET) == ["sheets/all.yaml: Sheet iris: is already defined in sheets/all.yaml"]
    assert "version 1.0.0 is already defined" in problems(template(), template())[0]


def test_a_name_that_is_missing_is_answered_with_the_nearest_or_with_the_new_one() -> None:
    found = catalog(SHEET.replace("{name: iris}", "{name: iris, formerly: [fisher]}"))
    with pytest.raises(DefinitionError, match="there is no Sheet 'irsi'; did you mean 'iris'"):
        found.sheet("irsi")
    with pytest.raises(DefinitionError, match=r"sheets/a.yaml: there is no Sheet 'fisher'; it is now called 'iris'"):
        found.sheet("fisher", "sheets/a.yaml")


def test_every_training_sheet_has_a_collection_of_its_own_name() -> None:
    found = catalog(SHEET, TRAINING_SHEET, COLLECTION)
    assert found.collections() == ["flowers", "measured"]
    own = found.collection("measured")
    assert [member.training_sheet for member in own.spec.members] == ["measured"]
    assert own.metadata.owner == "team:botany"
    assert found.collections_of("measured") == ["flowers", "measured"]


def test_a_declared_collection_of_that_name_takes_its_place() -> None:
    found = catalog(SHEET, TRAINING_SHEET, COLLECTION.replace("flowers", "measured"))
    assert found.collections() == ["measured"]
    assert found.collection("measured").spec.members[0].weight == 2
    assert found.collections_of("measured") == ["measured"]


def test_the_newest_published_template_is_used_unless_a_version_is_pinned() -> None:
    versions = [template("1.9.0"), template("1.10.0"), template("2.0.0", "draft"), template("0.1.0", "archived")]
    found = catalog(SHEET, TRAINING_SHEET, *versions)
    assert found.template("species").spec.version == "1.10.0"
    assert found.template_for(found.training_sheet("measured")).spec.version == "1.10.0"
    assert list(found.template_versions("species")) == ["0.1.0", "1.9.0", "1.10.0", "2.0.0"]
    pinned = catalog(SHEET, TRAINING_SHEET.replace("template: species", "template: species@1.9.0"), *versions)
    assert pinned.template_for(pinned.training_sheet("measured")).spec.version == "1.9.0"
    assert version_key("1.10.0") > version_key("1.9.0")


def test_a_template_that_can_not_be_meant_is_named_with_file_and_field() -> None:
    found = catalog(SHEET, TRAINING_SHEET, template("1.0.0", "draft"))
    with pytest.raises(DefinitionError, match="has no published version"):
        found.template("species")
    with pytest.raises(DefinitionError, match=r"has no version 1\.0\.1"):
        found.template("species", "1.0.1")
    missing = catalog(SHEET, TRAINING_SHEET.replace("template: species", "template: specie"), template())
    with pytest.raises(DefinitionError, match=r"sheets/all.yaml: TrainingSheet measured: spec.template: .*'species'"):
        missing.template_for(missing.training_sheet("measured"))


def test_a_broken_newer_version_is_never_replaced_by_an_older_one_in_silence() -> None:
    found = catalog(template("1.0.0"), template("1.1.0").replace("status:", "statuss:"))
    with pytest.raises(DefinitionError, match=r"spec.statuss: unknown field; did you mean 'status'"):
        found.template("species")
    assert found.template("species", "1.0.0").spec.version == "1.0.0"


def test_a_label_type_takes_its_document_else_the_first_template_that_names_it() -> None:
    by_template = catalog(template())
    assert list(by_template.label_schema("iris_species")["properties"]) == ["species"]
    declared = """
apiVersion: workbench/v1
kind: LabelType
metadata: {name: iris_species}
spec: {kind: classification, schema: {type: object, properties: {genus: {type: string}}}}
"""
    assert list(catalog(template(), declared).label_schema("iris_species")["properties"]) == ["genus"]
    assert catalog(template(), declared).label_types() == ["iris_species"]
    with pytest.raises(DefinitionError, match="unknown label_type 'iris_specie'; did you mean 'iris_species'"):
        by_template.label_schema("iris_specie")


def test_the_policies_that_come_along_are_replaced_tag_by_tag() -> None:
    assert set(catalog().tag_policies()) == {"CONFIDENTIAL", "NO_TRAIN", "PHI", "PII"}
    own = """
apiVersion: workbench/v1
kind: UsagePolicy
metadata: {name: ours}
spec:
  uses: [distillation]
  tags:
    PHI: {prohibited_uses: [distillation]}
    SECRET: {allowed_uses: [testing], data_classification: restricted}
"""
    policies = catalog(own).tag_policies()
    assert policies["PHI"].prohibited_uses == ("distillation",)
    assert policies["PII"].prohibited_uses == ("training", "validation", "evaluation", "few_shot")
    assert policies["SECRET"].allowed_uses == ("testing",)
    assert "distillation" in catalog(own).vocabulary()


@pytest.mark.parametrize(
    "policy", ["{prohibited_uses: [trainig]}", "{allowed_uses: [trainig]}", "{data_classification: secret}"]
)
def test_a_policy_with_an_unknown_word_is_an_error_that_names_its_tag(policy: str) -> None:
    text = f"apiVersion: workbench/v1\nkind: UsagePolicy\nmetadata: {{name: p}}\nspec: {{tags: {{PHI: {policy}}}}}"
    with pytest.raises(DefinitionError, match=r"sheets/all.yaml: UsagePolicy p: spec.tags.PHI: unknown"):
        catalog(text).tag_policies()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("labeling_mode: existing_column", "`column` names the response column"),
        ("column: species", "`column` names the response column"),
        ("trusted: true", "`trusted` pre-approves"),
        ("labeling_mode: automatic", "spec.labeling_mode"),
        ("few_shot: {k: 0}", "spec.few_shot.k"),
    ],
)
def test_a_training_sheet_that_contradicts_itself_is_refused(fields: str, words: str) -> None:
    assert words in problems(TRAINING_SHEET.replace("spec: {", f"spec: {{{fields}, "))[0]


def test_shares_of_splits_make_a_whole() -> None:
    splits = "splits: {train: 0.8, val: 0.1, test: 0.2}"
    assert "train + val + test is 1.1, not 1" in problems(COLLECTION.replace("spec: {", f"spec: {{{splits}, "))[0]


def test_people_are_named_by_owner_then_by_the_access_document() -> None:
    found = catalog(SHEET, TRAINING_SHEET)
    assert found.reviewers_of(found.training_sheet("measured")) == ["team:botany"]
    access = 'apiVersion: workbench/v1\nkind: Access\nmetadata: {name: a}\nspec: {reviewers: ["team:b", "team:a"]}'
    ownerless = catalog(TRAINING_SHEET.replace(', owner: "team:botany"', ""), access)
    assert ownerless.reviewers_of(ownerless.training_sheet("measured")) == ["team:a", "team:b"]


def test_there_is_always_a_default_example_store() -> None:
    assert catalog().example_stores() == ["default"]


def test_templates_are_sources_for_each_other_by_name_and_version() -> None:
    found = load_catalog(
        [
            ProjectFile(
                "templates/t.yaml", "---".join([template("1.0.0", prompt="Old"), template("1.1.0", prompt="New")])
            )
        ],
        {"base.j2": "Base"},
    )
    assert found.template_sources() == {
        "base.j2": "Base",
        "species@1.0.0": "Old",
        "species@1.1.0": "New",
        "species": "New",
    }


def test_the_starter_definitions_have_no_problem() -> None:
    project = Path(__file__).parent.parent
    files = [*project.glob("sheets/*.yaml"), *project.glob("templates/*.yaml")]
    found = load_catalog([ProjectFile(str(path.relative_to(project)), path.read_text()) for path in files])
    assert [problem.line for problem in found.problems] == []
    assert "iris" in found.names("Sheet")
