"""Label Studio as a back end of reviews: a project of its own for each TrainingSheet (or Sheet) and task.

A project is found by the key in its description, which names what it is about and its labeling config, so that another schema
makes another project. A task is found by the pair (or item) it is about: handed over again it is left alone, brought up to
date while nobody worked on it, and joined by a new one where somebody did, since an annotation is about what was shown. A task
that nobody worked on goes once its pair waits for nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from workbench_pipelines.clients.label_studio import Json, LabelStudio
from workbench_pipelines.decisions import Refusal
from workbench_pipelines.errors import LabelError, WorkbenchError
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.label_studio_config import (
    Control,
    Look,
    controls_of,
    labeling_config,
    look_of,
    task_data,
)
from workbench_pipelines.label_studio_regions import is_same, regions_of, said_by
from workbench_pipelines.review_tasks import Asked, Pulled, Pushed, ReviewTask

NAME, KNOWN_BY = "workbench_task", "workbench"
TITLE_LENGTH = 50  # Label Studio takes no longer one
AT_ONCE = 200
MOST_CHARACTERS = 8_000_000  # of one import, with images in it
_KEY = re.compile(r"\[workbench ([0-9a-f]{16})\.([0-9a-f]{8})\]")


class LabelStudioReviews:
    """The project of one TrainingSheet, or of one Sheet and task.

    Args:
        subject: the name of the TrainingSheet, or of the Sheet whose items are labeled.
        person_of: who is behind an e-mail.
        schema: the JSON Schema of the task.
    """

    name = "label-studio"

    def __init__(
        self,
        server: LabelStudio,
        subject: str,
        label_type: str,
        schema: Mapping[str, Any],
        person_of: Callable[[str], str],
    ) -> None:
        self.server, self.subject, self.label_type, self.schema = server, subject, label_type, schema
        self._person_of = person_of
        self._key = self.key_of(subject, label_type)

    @staticmethod
    def key_of(subject: str, label_type: str) -> str:
        """What the projects of a TrainingSheet, or of a Sheet and task, are found by."""
        return digest(["label-studio", subject, label_type])[:16]

    @staticmethod
    def keys_of(project: Json) -> list[str]:
        """The key of a project; none of one that is not ours."""
        return [key[0] for key in _KEY.findall(project.get("description") or "")]

    def push(self, asked: Asked) -> Pushed:
        """Shows these tasks; handed over again, nothing is there twice.

        Raises:
            MissingPart: where Label Studio does not answer; what it took until then is found the next time.
        """
        projects = list(self._projects())
        waiting = asked.waiting | {task.name for task in asked.tasks}
        if not asked.tasks:
            return _added([self._clear(project, waiting) for project, _ in projects])
        look = look_of(asked.tasks)
        controls = controls_of(asked.schema, look)
        config = labeling_config(controls, look)
        wanted = digest(config)[:8]
        # What was asked in another form is asked anew; who answered it before is heard all the same.
        others = [self._clear(project, frozenset()) for project, form in projects if form != wanted]
        mine = next((project for project, form in projects if form == wanted), None)
        if mine is None:
            title = f"{self.subject} · {self.label_type}"[:TITLE_LENGTH]
            about = f"Reviews of the Training Dataset Workbench. [workbench {self._key}.{wanted}]"
            mine = self.server.create_project(title, about, config)
        have = _by_name(self.server.tasks(mine["id"]))
        new: list[Json] = []
        updated = unchanged = removed = kept = 0
        for task in asked.tasks:
            made = _task_of(task, controls, look)
            there = have.pop(task.name, [])
            free = [one for one in there if not _is_worked_on(one)]
            same = [one for one in there if one["data"].get(KNOWN_BY) == made["data"][KNOWN_BY]]
            stays = next((one for one in same if _is_worked_on(one)), next(iter(same), None))
            if stays is not None:
                unchanged += 1
            elif free:
                stays = free[0]
                self._update(stays, made)
                updated += 1
            else:
                new.append(made)
            removed += self._remove(one for one in free if one is not stays)
        for name, there in have.items():
            free = [one for one in there if not _is_worked_on(one)]
            removed += self._remove(free) if name not in waiting else 0
            kept += bool(len(there) - len(free)) and name not in waiting
        added = sum(self.server.add_tasks(mine["id"], part) for part in _parts(new))
        return _added([*others, Pushed(added, updated, unchanged, removed, kept)])

    def pull(self) -> Pulled:
        """What people said of its tasks so far; what they skipped is undecided.

        Raises:
            MissingPart: where Label Studio does not answer.
        """
        judgements: list[tuple[str, Mapping[str, Any]]] = []
        refusals: list[Refusal] = []
        undecided = 0
        people: dict[int, str] = {}
        for project, _ in self._projects():
            undecided += self.server.count_tasks(project["id"])
            for task in self.server.tasks(project["id"], annotated=True):
                said = [one for one in task["annotations"] if not one["was_cancelled"]]
                undecided -= bool(said)
                for annotation in said:
                    people = people or self.server.people()
                    where = f"label-studio project {project['id']} task {task['id']} annotation {annotation['id']}"
                    try:
                        judgements.append((where, self._judgement(task["data"], annotation, people)))
                    except WorkbenchError as error:
                        refusals.append(Refusal(where, error.line))
        return Pulled(judgements, refusals, undecided)

    def _projects(self) -> Iterator[tuple[Json, str]]:
        """The projects that are about this, each with its form."""
        for project in self.server.projects():
            key = _KEY.search(project.get("description") or "")
            if key and key[1] == self._key:
                yield project, key[2]

    def _clear(self, project: Json, waiting: frozenset[str]) -> Pushed:
        """Takes away the tasks that wait for nobody and that nobody worked on."""
        removed = kept = 0
        for name, there in _by_name(self.server.tasks(project["id"])).items():
            free = [one for one in there if not _is_worked_on(one)]
            if name not in waiting:
                removed += self._remove(free)
                kept += len(there) > len(free)
        return Pushed(removed=removed, kept=kept)

    def _remove(self, tasks: Iterable[Json]) -> int:
        gone = list(tasks)
        for task in gone:
            self.server.delete_task(task["id"])
        return len(gone)

    def _update(self, there: Json, made: Json) -> None:
        # The predictions first: an interrupted update is one that is still to come.
        for old in there["predictions"]:
            self.server.delete_prediction(old["id"])
        for prediction in made["predictions"]:
            self.server.add_prediction(there["id"], prediction)
        self.server.update_task(there["id"], made["data"])

    def _judgement(
        self, data: Mapping[str, Any], annotation: Mapping[str, Any], people: Mapping[int, str]
    ) -> dict[str, Any]:
        try:
            known = json.loads(data[KNOWN_BY])
            identity, look = dict(known["identity"]), Look(*known["look"])
        except (KeyError, TypeError, ValueError):
            raise LabelError("its task was not made by `review push`, or was changed; push it again") from None
        # `completed_by` is what a client says of itself; who really wrote last is `updated_by`.
        email = people.get(annotation.get("updated_by") or annotation["completed_by"])
        if email is None:
            raise LabelError("nobody knows who said it")
        said = said_by(controls_of(self.schema, look), annotation["result"], data)
        found = {**identity, "by": self._person_of(email), "at": annotation["updated_at"], "notes": said.notes}
        found = {name: value or None for name, value in found.items()}
        if said.verdict is not None:
            return found | {"action": said.verdict, "reason": said.notes, "notes": None}
        if not identity.get("pair_id"):
            return found | {"action": "label", "label_data": said.answer}
        proposed = identity.get("proposed_response")
        if proposed is not None and is_same(json.loads(proposed), said.answer):
            return found | {"action": "approve"}
        return found | {"action": "edit", "label_data": said.answer}


def _task_of(task: ReviewTask, controls: Sequence[Control], look: Look) -> Json:
    """A task as Label Studio imports it: what it shows, what it is known by, and the proposed answer as a prediction."""
    data = task_data(task, look)
    predictions = []
    if task.response is not None:
        regions = regions_of(controls, json.loads(task.response), task, look)
        prediction: Json = {"model_version": task.model or "proposed", "result": regions}
        if task.ai_confidence is not None:
            prediction["score"] = task.ai_confidence
        predictions = [prediction] if regions else []
    known = {"identity": task.identity, "look": list(look), "shows": digest([data, predictions])}
    return {"data": {**data, NAME: task.name, KNOWN_BY: canonical_text(known)}, "predictions": predictions}


def _by_name(tasks: Iterator[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for task in tasks:
        name = task["data"].get(NAME)
        if isinstance(name, str):
            found.setdefault(name, []).append(task)
    return found


def _is_worked_on(task: Mapping[str, Any]) -> bool:
    """Whether somebody said something of a task, skipped it, or began to."""
    return bool(task["annotations"] or task.get("drafts"))


def _parts(tasks: Sequence[Json]) -> Iterator[list[Json]]:
    """The tasks in imports that a server takes at once."""
    part: list[Json] = []
    size = 0
    for task in tasks:
        length = sum(len(text) for text in task["data"].values())
        if part and (len(part) == AT_ONCE or size + length > MOST_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(task)
        size += length
    if part:
        yield part


def _added(done: Sequence[Pushed]) -> Pushed:
    names = ("added", "updated", "unchanged", "removed", "kept")
    return Pushed(**{name: sum(getattr(one, name) for one in done) for name in names})
