"""The pages of annotation tasks: a person's own, what one of them asks, and the way through its items."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from workbench_pipelines.review_page.sessions import Session
from workbench_pipelines.review_page.task_desk import TaskDesk


def task_of(request: Request) -> str | None:
    """The task that a person works through, as the address of the page says."""
    return request.query_params.get("task") or None


def next_of_task(desk: TaskDesk, session: Session, task_id: str, after: str | None = None, step: int = 1) -> Response:
    """Leads to the item of a task that comes next, or to the task at its end."""
    found, item = desk.next_in_task(task_id, session.person, after, step)
    task = found.task
    if item is None and step < 0:
        item = after
    if item is None or found.status == "completed":
        return RedirectResponse(f"/tasks/{quote(task_id, safe='')}", status_code=303)
    if task.training_sheet is not None:
        pair_id = dict(zip(task.item_refs, task.pair_ids, strict=True))[item]
        path = "/".join(("/pair", quote(task.training_sheet, safe=""), quote(pair_id, safe="")))
        return RedirectResponse(f"{path}?{urlencode({'task': task_id})}", status_code=303)
    path = "/".join(("/label", quote(task.sheet, safe=""), quote(task.label_type, safe=""), "item"))
    return RedirectResponse(f"{path}?{urlencode({'ref': item, 'task': task_id})}", status_code=303)
