"""The doors of one project, opened on demand: its catalog, lake, sources, request store, models and exports.

The Dagster rooms and the command line get one of these; it knows neither of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from workbench_pipelines.annotation_tasks import TASK_HISTORY, AnnotationTask, asked_of, latest_tasks
from workbench_pipelines.budget import Budget
from workbench_pipelines.catalog import Catalog, ReadOptions, SecondarySource, Sheet
from workbench_pipelines.clients.attachments import Attachments
from workbench_pipelines.clients.extraction_store import ExtractionStore
from workbench_pipelines.clients.file_intake import FileIntake
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.model_registry import ModelRegistry
from workbench_pipelines.clients.project_files import ProjectFiles, load_project_catalog
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.source_files import Location, columns_of, read_table, resolve
from workbench_pipelines.clients.source_folder import SourceFolder
from workbench_pipelines.clients.volume_files import path_in_project, read_volume, volume_folder
from workbench_pipelines.consensus import Panels
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.domains import also_stated, domain_named, domain_statements, domain_table
from workbench_pipelines.erasure import ERASURES, without_erased
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.intake import item_columns, snapshot_refusals
from workbench_pipelines.settings import Settings
from workbench_pipelines.sheet_columns import joined_sources, key_names
from workbench_pipelines.sheet_contract import refuse_broken_contract
from workbench_pipelines.sheets import Snapshot, take_snapshot
from workbench_pipelines.source_contract import SourceContract, parse_contract
from workbench_pipelines.volumes import FilesRead, volumes_of

T = TypeVar("T")


class Workbench:
    """A project with everything it is connected to.

    Args:
        settings: where things are.
        lake: the lake to use; one at `settings.lake` where none is given.
    """

    def __init__(self, settings: Settings, lake: Lake | None = None) -> None:
        self.settings = settings
        self.lake = lake or Lake(settings.lake)
        self.files = ProjectFiles(settings.project, settings.roots)
        self.on_progress: Callable[[int, int, str], None] = lambda done, total, what: None
        """Told of work inside a run: how much is done, of how much, by which model."""
        self.budget = Budget("WORKBENCH_BUDGET_USD", settings.budget_usd)
        """What this process may pay models, and has paid so far."""
        self.llm_calls = 0
        """Calls of models that this process made."""
        self.retries_refused = False
        """Whether models are asked only for what they gave no usable answer to before."""

    def catalog(self) -> Catalog:
        """The definitions as they stand in the files now."""
        return load_project_catalog(self.files)

    @cached_property
    def store(self) -> RequestStore:
        return RequestStore(self.settings.state / "requests", self.lake)

    @cached_property
    def llm(self) -> LLM:
        return LLM(secrets=self.settings.secrets, attachments=self.attachments)

    @property
    def attachments(self) -> Attachments:
        return Attachments(*self._places)

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.settings.mlflow_uri, self.settings.state / "mlartifacts")

    def record(self, name: str, schema: pl.Schema) -> pl.DataFrame:
        """The rows of a record table; empty with its columns where nothing was recorded yet."""
        if not self.lake.exists("records", name):
            return schema.to_frame()
        return self.lake.read("records", name)

    def decisions(self, sheets: Sequence[str] | None = None, *, version: int | None = None) -> pl.DataFrame:
        """The decisions ledger, of some Sheets or of all, as it stands or as it stood at a commit."""
        if not self.lake.exists("label", "decisions"):
            return DECISIONS.to_frame()
        partition = None if sheets is None else {"sheet": list(sheets)}
        rows = self.lake.read("label", "decisions", partition=partition, version=version)
        # Another writer of the ledger may leave out what it has nothing to say of.
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in DECISIONS.items() if name not in rows.columns]
        return rows.with_columns(missing).select(list(DECISIONS))

    def sheet_decisions(self, sheet: Sheet) -> pl.DataFrame:
        """The decisions on a Sheet's items, those made under its former names included, all under its name of today."""
        rows = self.decisions([sheet.name, *sheet.metadata.formerly])
        return rows.with_columns(pl.lit(sheet.name).alias("sheet"))

    def annotation_tasks(self) -> list[AnnotationTask]:
        """Every annotation task as people changed it last, under the name that its Sheet has today."""
        catalog = self.catalog()
        return [
            replace(task, sheet=catalog.today("Sheet", task.sheet))
            for task in latest_tasks(self.record("annotation_task_history", TASK_HISTORY))
        ]

    def panels(self) -> Panels:
        """Which labels take several people who answer on their own, by their Sheets and by the annotation tasks."""
        return self.catalog().panels(asked_of(self.annotation_tasks()))

    def read_items(self, sheet: Sheet, *, sampled: bool = True) -> pl.DataFrame:
        """The items of a Sheet as its sources hold them now; unsampled, all that pass its filter.

        Raises:
            DefinitionError, SourceError, MissingPart: as `read_snapshot`.
        """
        return self.read_snapshot(sheet, sampled=sampled).frame

    def intake_of(self, sheet: Sheet) -> FileIntake:
        """The files of a Sheet's folder and the items they became.

        Raises:
            DefinitionError: for a Sheet without an `intake`, and for a folder that is not there.
        """
        file = self.catalog().file_of("Sheet", sheet.name)
        where = f"{file}: Sheet {sheet.name}"
        if sheet.spec.intake is None:
            raise DefinitionError(
                f"{where}: the Sheet keeps no items of its own; they are what its source holds, unless it says `intake: {{}}`"
            )
        place = f"{where}: spec.primary_table"
        folder = SourceFolder(resolve(*self._places, file, sheet.spec.primary_table, place), place)
        return FileIntake(sheet, folder, self.lake, self.settings.state / "intake")

    def read_snapshot(
        self, sheet: Sheet, *, sampled: bool = True, waiting: bool = True, with_erased: bool = False
    ) -> Snapshot:
        """The same with the items of which a file could not be read, and the rows of taken files that are none.

        Args:
            waiting: whether items of files that are still to be taken count.
            with_erased: whether those count that were erased, where the source still has them.

        Raises:
            DefinitionError: for a source that is missing or lies outside the project.
            SourceError: for a source that is not what the Sheet says.
            MissingPart: for an extra that the files of a volume need and that is not installed.
        """
        catalog = self.catalog()
        file = catalog.file_of("Sheet", sheet.name)
        where = f"{file}: Sheet {sheet.name}"
        spec = sheet.spec
        if not sampled:
            sheet = sheet.model_copy(update={"spec": spec.model_copy(update={"sample": None})})
        joined_sources(sheet, where)
        folders = self._volume_folders(file, sheet, where)
        tables = self._each_table(
            file,
            sheet,
            where,
            read_table,
            lambda rows: rows,
            lambda intake: intake.rows_with_waiting() if waiting else intake.rows(),
        )
        contract = self.contract_of(sheet)
        if contract is not None:
            refuse_broken_contract(contract, sheet, tables, catalog.tag_policies(), where)

        def read_files(source: SecondarySource, names: Sequence[str]) -> FilesRead:
            folder, shown = folders[source.name], path_in_project(folders[source.name], *self._places)
            store = ExtractionStore(self.settings.state / "extracted.db")
            place = f"{where}: spec.secondary_sources.{source.name}"
            return read_volume(folder, shown, source, names, store, place)

        snapshot = take_snapshot(
            sheet,
            tables.pop(""),
            tables,
            policies=catalog.tag_policies(),
            vocabulary=catalog.vocabulary(),
            where=where,
            read_files=read_files,
        )
        if spec.intake is not None:
            refused = snapshot_refusals(self.intake_of(sheet).refusals())
            snapshot = replace(snapshot, refusals=pl.concat([refused, snapshot.refusals]))
        if not with_erased:
            erased = self.record("erasures", ERASURES).filter(
                pl.col("sheet").is_in([sheet.name, *sheet.metadata.formerly])
            )
            snapshot = without_erased(snapshot, sheet.name, set(erased["item_digest"]))
        # What a Domain states counts for every item that its terms or rules are, or are joined to.
        paths = [spec.primary_table, *(source.path for source in spec.secondary_sources if source.type == "table")]
        shared = dict.fromkeys(found[0] for path in paths if (found := domain_named(path)) is not None)
        stated = [one for name in shared for one in domain_statements(catalog.domain(name, where))]
        return replace(snapshot, frame=also_stated(snapshot.frame, stated)) if stated else snapshot

    def contract_of(self, sheet: Sheet) -> SourceContract | None:
        """The data contract that a Sheet names for its sources; None where it names none.

        Raises:
            DefinitionError: for a file that is missing, lies outside the project or is no contract.
        """
        if sheet.spec.contract is None:
            return None
        file = self.beside("Sheet", sheet.name, sheet.spec.contract)
        return parse_contract(file.read_text(encoding="utf-8"), file.name)

    def source_columns(self, catalog: Catalog, sheet: Sheet) -> dict[str, dict[str, pl.DataType]]:
        """The columns of each table of a Sheet by source name, the primary one under ''; no row is read where the
        format says its types.

        Raises:
            DefinitionError, SourceError: for a table or a volume that is not there, or not where it may be.
        """
        file = catalog.file_of("Sheet", sheet.name)
        where = f"{file}: Sheet {sheet.name}"
        self._volume_folders(file, sheet, where)
        return self._each_table(
            file,
            sheet,
            where,
            columns_of,
            lambda rows: dict(rows.schema),
            lambda intake: dict(item_columns(intake.spec)),
        )

    def beside(self, kind: str, name: str, path: str) -> Path:
        """A file that a document names, relative to the document's folder.

        Raises:
            DefinitionError: where it is missing or lies outside the project.
        """
        file = self.catalog().file_of(kind, name)
        found = resolve(self.settings.project, self.settings.roots, file, path, f"{file}: {kind} {name}")
        if not isinstance(found, Path) or not found.is_file():
            raise DefinitionError(f"{file}: {kind} {name}: there is no file {path}")
        return found

    def read_spreadsheet(self, file: Path) -> Iterator[Mapping[str, Any]]:
        """The rows of the first worksheet of a label file, its keys as text."""
        frame = read_table(file, ReadOptions(), ["sheet", "item_ref", "label_type"], file.name)
        return iter(frame.to_dicts())

    @property
    def _places(self) -> tuple[Path, tuple[Path, ...]]:
        """The project and the further folders that sources may lie in."""
        return self.settings.project, self.settings.roots

    def _volume_folders(self, file: str, sheet: Sheet, where: str) -> dict[str, Path]:
        """The folder of each volume of a Sheet by source name."""
        places = {source.name: f"{where}: spec.secondary_sources.{source.name}" for source in volumes_of(sheet)}
        return {
            source.name: volume_folder(
                resolve(*self._places, file, source.path, places[source.name]), places[source.name]
            )
            for source in volumes_of(sheet)
        }

    def _each_table(
        self,
        file: str,
        sheet: Sheet,
        where: str,
        read: Callable[[Location, ReadOptions, Sequence[str], str], T],
        of_rows: Callable[[pl.DataFrame], T],
        of_intake: Callable[[FileIntake], T],
    ) -> dict[str, T]:
        """What `read` makes of each table of a Sheet by source name, the primary one under ''; `of_rows` of those of a Domain,
        `of_intake` of a folder whose files are taken once."""
        text = key_names(sheet)
        tables = [("", sheet.spec.primary_table, sheet.spec.read, f"{where}: spec.primary_table")]
        tables += [
            (source.name, source.path, source.read, f"{where}: spec.secondary_sources.{source.name}")
            for source in sheet.spec.secondary_sources
            if source.type == "table"
        ]
        found: dict[str, T] = {}
        for name, path, options, place in tables:
            if name == "" and sheet.spec.intake is not None:
                found[name] = of_intake(self.intake_of(sheet))
                continue
            shared = domain_named(path)
            if shared is not None:
                rows = domain_table(self.catalog().domain(shared[0], place), shared[1])
                found[name] = of_rows(rows)
                continue
            location = resolve(self.settings.project, self.settings.roots, file, path, place)
            found[name] = read(location, options, text, place)
        return found
