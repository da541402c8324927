"""The catalog: every definition of a project, by kind and name, with the problem lines of those that are broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

from workbench_pipelines.catalog.collection_specs import Member
from workbench_pipelines.catalog.documents import (  # fmt: skip
    Access,
    AccessSpec,
    Collection,
    CollectionSpec,
    Document,
    Domain,
    ExampleStore,
    ExampleStoreSpec,
    LabelType,
    Metadata,
    PromptTemplate,
    Sheet,
    TagPolicy,
    TrainingSheet,
    UsagePolicy,
)
from workbench_pipelines.catalog.parsing import Parsed, Problem, ProjectFile, parse_file
from workbench_pipelines.catalog.variety import StepSpec
from workbench_pipelines.consensus import Key, Panel, Panels
from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.fields import is_closed, json_schema_of
from workbench_pipelines.personal_data import Policy, strictest_policy
from workbench_pipelines.usage import USES, known_classification, known_use

D = TypeVar("D", bound=Document)


def version_key(version: str) -> tuple[int, ...]:
    """Semantic versions in their own order: 1.10.0 comes after 1.9.0."""
    return tuple(int(part) for part in version.split("."))


@dataclass(frozen=True)
class Catalog:
    """The definitions of a project as they stand in its files; broken ones keep their name and say what is wrong."""

    parsed: tuple[Parsed, ...]
    partials: Mapping[str, str] = field(default_factory=dict)
    """Jinja2 files beside the templates, by path relative to `templates/`."""
    duplicates: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with single documents and among equal names; references are checked by `validation`."""
        return tuple(problem for one in self.parsed for problem in one.problems) + self.duplicates

    def names(self, kind: str) -> list[str]:
        """The names of a kind, broken documents included, so that a partition never disappears by a typing error."""
        return sorted({one.name for one in self.parsed if one.kind == kind and one.name and _is_name(one.name)})

    def file_of(self, kind: str, name: str) -> str:
        """The file a document stands in, relative to the project; empty where there is none."""
        return next((one.file for one in self.parsed if one.kind == kind and one.name == name), "")

    def _documents(self, model: type[D], kind: str) -> list[tuple[str, D]]:
        return [(one.file, one.document) for one in self.parsed if one.kind == kind and isinstance(one.document, model)]

    def _get(self, model: type[D], kind: str, name: str, where: str = "") -> D:
        prefix = f"{where}: " if where else ""
        broken = [p for p in self.problems if p.kind == kind and p.name == name]
        if broken:
            raise DefinitionError(broken[0].line)
        for _, document in self._documents(model, kind):
            if document.name == name:
                return document
        former = [d.name for _, d in self._documents(model, kind) if name in d.metadata.formerly]
        hint = f"; it is now called '{former[0]}'" if former else nearest(name, self.names(kind))
        raise DefinitionError(f"{prefix}there is no {kind} '{name}'{hint}")

    def today(self, kind: str, name: str) -> str:
        """The name that a document has now which had this one before; any other name as it is."""
        documents = [one.document for one in self.parsed if one.kind == kind and one.document is not None]
        return next((one.name for one in documents if name in one.metadata.formerly), name)

    def first_name(self, kind: str, name: str) -> str:
        """The name that a document had first, the first one of `formerly`: its pairs are known by it, whatever it is called.

        Where another document has that name now, or had it before this one, a document goes by its own.
        """
        documents = [one.document for one in self.parsed if one.kind == kind and one.document is not None]
        former = next((one.metadata.formerly for one in documents if one.name == name), ())
        if not former or former[0] in self.names(kind) or self.today(kind, former[0]) != name:
            return name
        return former[0]

    def pair_names(self, training_sheet: TrainingSheet) -> tuple[str, str]:
        """The names of a TrainingSheet and its Sheet that make the `pair_id` of its pairs."""
        of_sheet = self.first_name("Sheet", training_sheet.spec.sheet)
        return self.first_name("TrainingSheet", training_sheet.name), of_sheet

    def sheet(self, name: str, where: str = "") -> Sheet:
        return self._get(Sheet, "Sheet", name, where)

    def training_sheet(self, name: str, where: str = "") -> TrainingSheet:
        return self._get(TrainingSheet, "TrainingSheet", name, where)

    def training_sheets(self) -> list[TrainingSheet]:
        """Every TrainingSheet that parses."""
        return [document for _, document in self._documents(TrainingSheet, "TrainingSheet")]

    def training_sheets_of(self, sheet: str) -> list[TrainingSheet]:
        """Every TrainingSheet that parses and asks of a Sheet."""
        return [one for one in self.training_sheets() if one.spec.sheet == sheet]

    def collection(self, name: str, where: str = "") -> Collection:
        """The declared Collection, or the one that each TrainingSheet has under its own name."""
        if name not in self.names("Collection") and name in self.names("TrainingSheet"):
            sheet = self.training_sheet(name)
            return Collection(
                api_version="workbench/v1",
                kind="Collection",
                metadata=Metadata(name=name, owner=sheet.metadata.owner, description=f"The pairs of {name} alone."),
                spec=CollectionSpec(members=(Member(training_sheet=name),)),
            )
        return self._get(Collection, "Collection", name, where)

    def collections(self) -> list[str]:
        """The names of all Collections: the declared ones and one for each TrainingSheet."""
        return sorted({*self.names("Collection"), *self.names("TrainingSheet")})

    def collections_of(self, training_sheet: str) -> list[str]:
        """The Collections that take pairs of a TrainingSheet."""
        found = {training_sheet} if training_sheet not in self.names("Collection") else set()
        for _, collection in self._documents(Collection, "Collection"):
            if any(member.training_sheet == training_sheet for member in collection.spec.members):
                found.add(collection.name)
        return sorted(found)

    def template_versions(self, name: str) -> dict[str, PromptTemplate]:
        """Every version of a template, oldest first."""
        found = [d for _, d in self._documents(PromptTemplate, "PromptTemplate") if d.name == name]
        return {d.spec.version: d for d in sorted(found, key=lambda d: version_key(d.spec.version))}

    def template(self, name: str, version: str | None = None, where: str = "") -> PromptTemplate:
        """A version of a template; without one, the newest published.

        Raises:
            DefinitionError: for an unknown name or version, a broken document, or a template with no published version.
        """
        if name not in self.names("PromptTemplate"):
            self._get(PromptTemplate, "PromptTemplate", name, where)
        versions = self.template_versions(name)
        prefix = f"{where}: " if where else ""
        broken = [p for p in self.problems if p.kind == "PromptTemplate" and p.name == name]
        if version is not None:
            if version in versions:
                return versions[version]
            hint = f"; {broken[0].line}" if broken else nearest(version, versions)
            raise DefinitionError(f"{prefix}template '{name}' has no version {version}{hint}")
        if broken:
            # The broken version may well be the one that is meant: falling back to an older one would be silent.
            raise DefinitionError(broken[0].line)
        published = [t for t in versions.values() if t.spec.status == "published"]
        if not published:
            raise DefinitionError(
                f"{prefix}template '{name}' has no published version; publish one or pin one with '@'"
            )
        return published[-1]

    def template_for(self, training_sheet: TrainingSheet) -> PromptTemplate:
        """The template version a TrainingSheet uses now."""
        where = (
            f"{self.file_of('TrainingSheet', training_sheet.name)}: TrainingSheet {training_sheet.name}: spec.template"
        )
        spec = training_sheet.spec
        return self.template(spec.template_name, spec.pinned_version, where)

    def template_sources(self) -> dict[str, str]:
        """What a template may extend or include: `name@version`, `name` (newest published), and Jinja2 files by path.

        A template of several messages is no single text, and is not among them.
        """
        sources = dict(self.partials)
        for name in self.names("PromptTemplate"):
            for version, template in self.template_versions(name).items():
                text = template.spec.user_prompt_template
                if text is None:
                    continue
                sources[f"{name}@{version}"] = text
                if template.spec.status == "published":
                    sources[name] = text
        return sources

    def label_schema(self, label_type: str) -> dict[str, Any]:
        """The JSON Schema of a label type: its LabelType document, else the first template that names it.

        Raises:
            DefinitionError: when neither exists.
        """
        for _, document in self._documents(LabelType, "LabelType"):
            if document.name == label_type:
                return document.spec.label_schema
        for _, template in self._documents(PromptTemplate, "PromptTemplate"):
            if template.spec.label_type == label_type:
                return json_schema_of(template.spec.output_schema)
        raise DefinitionError(f"unknown label_type '{label_type}'{nearest(label_type, self.label_types())}")

    def closed_label_types(self) -> list[str]:
        """The label types whose values are all of a known few; a broken or unknown one is none of them."""
        closed = []
        for name in self.label_types():
            with suppress(DefinitionError):
                if is_closed(self.label_schema(name)):
                    closed.append(name)
        return closed

    def covers_derived(self, label_type: str) -> bool:
        """Whether the label of an item answers what is derived from it as well; only where a LabelType says so."""
        return any(
            document.spec.covers_derived
            for _, document in self._documents(LabelType, "LabelType")
            if document.name == label_type
        )

    def label_types(self) -> list[str]:
        templates = {d.spec.label_type for _, d in self._documents(PromptTemplate, "PromptTemplate")}
        return sorted(templates | set(self.names("LabelType")))

    def tag_policies(self) -> dict[str, TagPolicy]:
        """The policy of each tag; a project's own replaces the one that comes with the package.

        Raises:
            DefinitionError: for a broken UsagePolicy: falling back to the package's would grant what it may forbid.
        """
        self._refuse_broken_policies()
        policies: dict[str, TagPolicy] = dict(default_policy().spec.tags)
        for file, document in self._documents(UsagePolicy, "UsagePolicy"):
            vocabulary = self.vocabulary()
            for tag, policy in document.spec.tags.items():
                where = f"{file}: UsagePolicy {document.name}: spec.tags.{tag}"
                for use in (*(policy.allowed_uses or ()), *policy.prohibited_uses):
                    known_use(use, vocabulary, where)
                if policy.data_classification:
                    known_classification(policy.data_classification, where)
                policies[tag] = policy
        return policies

    def vocabulary(self) -> tuple[str, ...]:
        """Every use this project knows: the five, and those its policies add.

        Raises:
            DefinitionError: for a broken UsagePolicy.
        """
        self._refuse_broken_policies()
        own = {use for _, document in self._documents(UsagePolicy, "UsagePolicy") for use in document.spec.uses}
        return tuple(sorted(own | set(USES)))

    def personal_data(self, sheet: str | None = None) -> Policy:
        """What is done with personal data that is found: of each kind the strictest that a UsagePolicy, or the Sheet, says.

        Raises:
            DefinitionError: for a broken UsagePolicy or Sheet: leaving it out would let through what it may forbid.
        """
        self._refuse_broken_policies()
        said = [document.spec.personal_data for _, document in self._documents(UsagePolicy, "UsagePolicy")]
        if sheet is not None and sheet in self.names("Sheet"):
            said.append(self.sheet(sheet).spec.personal_data)
        return strictest_policy(one.policy for one in said if one is not None)

    def states_personal_data(self, sheet: str | None = None) -> bool:
        """Whether a UsagePolicy, or the Sheet, says anything of personal data."""
        said = [document.spec.personal_data for _, document in self._documents(UsagePolicy, "UsagePolicy")]
        return any(one is not None for one in (*said, self.sheet(sheet).spec.personal_data if sheet else None))

    def _refuse_broken_policies(self) -> None:
        broken = [problem for problem in self.problems if problem.kind == "UsagePolicy"]
        if broken:
            raise DefinitionError(broken[0].line)

    def reviewers_of(self, training_sheet: TrainingSheet) -> list[str]:
        """Who is waited for when pairs of a TrainingSheet wait: its owner, else the reviewers of the project."""
        if training_sheet.metadata.owner:
            return [training_sheet.metadata.owner]
        people = [person for access in self.access() for person in access.reviewers]
        return sorted(set(people)) or ["a reviewer"]

    def access(self) -> list[AccessSpec]:
        """What every Access document that parses says."""
        return [document.spec for _, document in self._documents(Access, "Access")]

    def two_person_sheets(self) -> frozenset[str]:
        """The Sheets, by every name they ever had, whose labels count once a second person has approved them."""
        asking = [document for _, document in self._documents(Sheet, "Sheet") if document.spec.review.two_persons]
        return frozenset(name for sheet in asking for name in (sheet.name, *sheet.metadata.formerly))

    def panels(self, asked: Mapping[Key, int] | None = None) -> Panels:
        """Which labels take several people who answer on their own, as the Sheets say and `asked` adds."""
        sheets = [document for _, document in self._documents(Sheet, "Sheet")]
        by_name = {
            name: Panel(sheet.spec.review.annotators, sheet.spec.review.agreement)
            for sheet in sheets
            for name in (sheet.name, *sheet.metadata.formerly)
        }
        schemas = {}
        for label_type in self.label_types():
            with suppress(DefinitionError):
                schemas[label_type] = self.label_schema(label_type)
        return Panels(by_name, asked or {}, schemas)

    def domain(self, name: str, where: str = "", *, uses_are_checked: bool = False) -> Domain:
        """A Domain whose statements of uses are known ones, unless they are checked elsewhere.

        Raises:
            DefinitionError: for an unknown name, use or classification: a word that nobody knows would prohibit nothing.
        """
        found = self._get(Domain, "Domain", name, where)
        usage = found.spec.usage
        if usage is not None and not uses_are_checked:
            place = f"{self.file_of('Domain', name)}: Domain {name}: spec.usage"
            for use in (*(usage.allowed_uses or ()), *usage.prohibited_uses):
                known_use(use, self.vocabulary(), place)
            if usage.data_classification is not None:
                known_classification(usage.data_classification, place)
        return found

    def domain_of(self, training_sheet: TrainingSheet) -> Domain | None:
        """The Domain that the templates of a TrainingSheet see, where it names one."""
        if training_sheet.spec.domain is None:
            return None
        file = self.file_of("TrainingSheet", training_sheet.name)
        return self.domain(training_sheet.spec.domain, f"{file}: TrainingSheet {training_sheet.name}: spec.domain")

    def step_template(self, training_sheet: TrainingSheet, step: StepSpec) -> PromptTemplate:
        """The template version that a step of a TrainingSheet asks with."""
        file = self.file_of("TrainingSheet", training_sheet.name)
        where = f"{file}: TrainingSheet {training_sheet.name}: spec.steps.{step.name}.template"
        return self.template(step.template_name, step.pinned_version, where)

    def example_stores(self) -> list[str]:
        """The names of the example stores; there is always a default one."""
        return sorted({*(d.name for _, d in self._documents(ExampleStore, "ExampleStore")), "default"})

    def example_store(self, name: str, where: str = "") -> ExampleStore:
        """An example store; the default one takes every label type where no document says otherwise."""
        if name == "default" and name not in self.names("ExampleStore"):
            return ExampleStore(
                api_version="workbench/v1",
                kind="ExampleStore",
                metadata=Metadata(name=name, description="Examples of every task."),
                spec=ExampleStoreSpec(),
            )
        return self._get(ExampleStore, "ExampleStore", name, where)


def load_catalog(files: Iterable[ProjectFile], partials: Mapping[str, str] | None = None) -> Catalog:
    """The catalog of these definition files; nothing is raised for broken ones, they keep their problems."""
    parsed = tuple(one for file in files for one in parse_file(file))
    seen: dict[tuple[str, str, str], str] = {}
    duplicates: list[Problem] = []
    for one in parsed:
        if one.document is None:
            continue
        version = one.document.spec.version if isinstance(one.document, PromptTemplate) else ""
        key = (one.document.kind, one.document.name, version)
        if key in seen:
            label = f"version {version} is" if version else "is"
            duplicates.append(Problem(one.file, key[0], key[1], f"{label} already defined in {seen[key]}"))
        seen.setdefault(key, one.file)
    return Catalog(parsed, dict(partials or {}), tuple(duplicates))


def default_policy() -> UsagePolicy:
    """The UsagePolicy document that comes with the package."""
    text = resources.files("workbench_pipelines.catalog").joinpath("default_policy.yaml").read_text()
    (parsed,) = parse_file(ProjectFile("default_policy.yaml", text))
    assert isinstance(parsed.document, UsagePolicy), parsed.problems
    return parsed.document


def _is_name(name: str) -> bool:
    from workbench_pipelines.catalog.document_parts import partition_name

    try:
        return bool(partition_name(name))
    except ValueError:
        return False
