"""Reviews in Label Studio: what waits goes there, and what was said there comes back through the inbox."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workbench_pipelines.access import roles_of
from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.label_studio import LabelStudio
from workbench_pipelines.clients.label_studio_reviews import LabelStudioReviews
from workbench_pipelines.errors import DefinitionError, MissingPart
from workbench_pipelines.label_coverage import tasks_of_sheet
from workbench_pipelines.review_exchange import Exchanged, deliver
from workbench_pipelines.review_tasks import Asked, Pushed
from workbench_pipelines.workbench import Workbench


@contextmanager
def open_label_studio(workbench: Workbench) -> Iterator[LabelStudio]:
    """The Label Studio that the environment names.

    Raises:
        MissingPart: where it names none.
        ArgumentError: for an address or token that is none.
    """
    url, token = workbench.settings.label_studio_url, workbench.settings.label_studio_token
    if not url or not token:
        missing = "LABEL_STUDIO_TOKEN" if url else "LABEL_STUDIO_URL"
        raise MissingPart(f"{missing} is not set; `make label-studio` starts one and says both")
    with LabelStudio(url, token) as server:
        yield server


def push_reviews(workbench: Workbench, server: LabelStudio, subject: str, asked: Asked) -> Pushed:
    """Hands what waits to Label Studio; one push at a time on this machine, so that nothing is there twice.

    Args:
        subject: the TrainingSheet, or by `items_of` the Sheet whose items are labeled.

    Raises:
        WorkbenchError: where Label Studio does not answer, or Access is broken.
    """
    state = workbench.settings.state
    state.mkdir(parents=True, exist_ok=True)
    with (state / "label_studio.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _back_end(workbench, server, subject, asked.label_type).push(asked)


def pull_reviews(workbench: Workbench, server: LabelStudio, names: Sequence[str] = ()) -> list[Exchanged]:
    """Takes in what was said in Label Studio; what was taken before changes nothing.

    Args:
        names: TrainingSheets and Sheets; all of them where none is named.

    Raises:
        DefinitionError: for a name that is neither.
        MissingPart: where Label Studio does not answer.
    """
    there = {key for project in server.projects() for key in LabelStudioReviews.keys_of(project)}
    return [
        deliver(workbench, _back_end(workbench, server, *subject))
        for subject in _subjects(workbench.catalog(), names)
        if LabelStudioReviews.key_of(*subject) in there
    ]


def items_of(sheet: str) -> str:
    """What reviews of the items of a Sheet are about; no TrainingSheet is called so."""
    return f"items of {sheet}"


def _subjects(catalog: Catalog, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What reviews can be about, with the task of each."""
    sheets, training_sheets = set(catalog.names("Sheet")), set(catalog.names("TrainingSheet"))
    for name in names or sorted(sheets | training_sheets):
        if name in training_sheets or name not in sheets:
            try:
                yield name, catalog.template_for(catalog.training_sheet(name)).spec.label_type
            except DefinitionError:
                if names:
                    raise
        if name in sheets:
            for label_type in sorted({*tasks_of_sheet(catalog, name), *catalog.names("LabelType")}):
                yield items_of(name), label_type


def _back_end(workbench: Workbench, server: LabelStudio, subject: str, label_type: str) -> LabelStudioReviews:
    catalog = workbench.catalog()
    schema = catalog.label_schema(label_type)
    return LabelStudioReviews(server, subject, label_type, schema, roles_of(catalog).person_of)
