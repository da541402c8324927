"""The tasks on a reviewer's desk: their own, and for those who assign them everybody's; each leads through its own items."""

from __future__ import annotations

from workbench_pipelines.annotation_tasks import Progress, progress_of
from workbench_pipelines.errors import ArgumentError, WorkbenchError
from workbench_pipelines.review_page.desk import Desk
from workbench_pipelines.review_page.views import Assigned


class TaskDesk(Desk):
    """The desk with the annotation tasks of its project."""

    def assigned(self, person: str) -> tuple[list[Assigned], list[Assigned]]:
        """A person's tasks, those first that are not done; and the tasks of others, for somebody who may assign them."""
        every = [_view(one) for one in self._progress()]
        every.sort(key=lambda one: (one.status == "completed", one.due or "9999", one.job, one.assignee))
        own = [one for one in every if one.assignee == person]
        others = [one for one in every if one.assignee != person]
        return own, others if self.tables.roles().may(person, "approve") else []

    def task(self, task_id: str, person: str) -> Progress:
        """A task of this person, or any task for somebody who may assign.

        Raises:
            ArgumentError: for a task that there is not, or that is somebody else's.
        """
        found = next((one for one in self._progress() if one.task.task_id == task_id), None)
        if found is None or (found.task.assignee != person and not self.tables.roles().may(person, "approve")):
            raise ArgumentError("there is no such task of yours; approvers and stewards see those of others")
        return found

    def view(self, task_id: str, person: str) -> Assigned:
        """The same as the page shows it."""
        return _view(self.task(task_id, person))

    def next_in_task(
        self, task_id: str, person: str, after: str | None = None, step: int = 1
    ) -> tuple[Progress, str | None]:
        """A task and the item of it that comes next (or before, with a step of -1) and is open; None at its end."""
        found = self.task(task_id, person)
        places = {item: place for place, item in enumerate(found.task.item_refs)}
        here = places.get(after or "", -1 if step > 0 else len(places))
        left = found.open_items
        if step < 0:
            return found, next((item for item in reversed(left) if places[item] < here), None)
        later = [item for item in left if places[item] > here] or [item for item in left if item != after]
        return found, later[0] if later else None

    def _progress(self) -> list[Progress]:
        found = []
        tasks = self.tables.annotation_tasks()
        for sheet in sorted({task.sheet for task in tasks}):
            own = [task for task in tasks if task.sheet == sheet]
            try:
                found += progress_of(own, self.tables.ledger(sheet), self.tables.labels(sheet))
            except WorkbenchError:
                # A Sheet that can not be read says nothing of its tasks.
                found += [Progress(task, {}, None) for task in own]
        return found


def _view(one: Progress) -> Assigned:
    task = one.now
    return Assigned(
        task_id=task.task_id,
        job=task.job,
        assignee=task.assignee,
        what=f"{task.training_sheet or task.sheet}: {task.label_type}",
        status=task.status,
        done=min(len(one.done), task.target_count),
        target=task.target_count,
        instructions=task.instructions,
        reason=task.reason,
        due=None if task.due is None else f"{task.due:%Y-%m-%d}",
        open_items=[] if task.status == "completed" else one.open_items,
    )
