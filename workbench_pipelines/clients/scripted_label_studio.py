"""A Label Studio that keeps everything in memory: a real HTTP server on loopback with the part of its API that reviews need.

::

    with ScriptedLabelStudio(people=["ann@example.org"]) as studio:
        LabelStudio(studio.url, studio.token)
        studio.annotate(task, regions, by="ann@example.org")     # what a person does on its page

Its answers have the shape of Label Studio 1.23 (`make test-label-studio` holds the real one to the same tests). For tests and
for trying out a pipeline.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workbench_pipelines.clients.scripted_server import HttpAnswer, HttpRequest, ScriptedServer

Json = dict[str, Any]
TOKEN = "scripted-token-of-label-studio"  # noqa: S105  it opens nothing


class ScriptedLabelStudio(ScriptedServer):
    """The server; it runs inside its `with` block, on a free port.

    Args:
        people: the e-mails of who has an account; the first one's token is `token`.
    """

    token = TOKEN

    def __init__(self, people: Sequence[str] = ("reviewer@localhost",)) -> None:
        super().__init__()
        self.people = dict(enumerate(people, start=1))
        self.projects: dict[int, Json] = {}
        self.tasks: dict[int, Json] = {}
        self.asked: list[str] = []
        """Each request by method and path."""
        self.fails: list[int] = []
        """States that the next requests are answered with."""
        self._numbers = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self.address

    def annotate(
        self,
        task: int,
        regions: Iterable[Mapping[str, Any]],
        *,
        by: str,
        skipped: bool = False,
        at: dt.datetime | None = None,
    ) -> Json:
        """What a person says of a task; at a time, where it is to be known."""
        number = next(number for number, email in self.people.items() if email == by)
        return self._annotate(task, list(regions), number, skipped, at or dt.datetime.now(dt.UTC))

    def respond(self, asked: HttpRequest) -> HttpAnswer:
        if asked.headers.get("Authorization") != f"Token {TOKEN}":
            status, answer = 401, _error("Invalid token.")
        else:
            status, answer = self.answer(asked.method, asked.target, json.loads(asked.content or "null"))
        return HttpAnswer(status, b"" if answer is None else json.dumps(answer).encode())

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """The state and body that a request is answered with."""
        parts = urlsplit(target)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            self.asked.append(f"{method} {parts.path}")
            if self.fails:
                return self.fails.pop(0), _error("as the script says")
        for pattern, verb, handle in _ROUTES:
            found = re.fullmatch(pattern, parts.path)
            if found and verb == method:
                given = {name: int(number) for name, number in found.groupdict().items()}
                try:
                    with self._lock:
                        answer: tuple[int, Any] = handle(self, body=body, asked=asked, **given)
                    return answer
                except KeyError:
                    return 404, _error("No object matches the given query.")
        return 404, _error("Not found.")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _annotate(self, task: int, regions: list[Any], by: int, skipped: bool, at: dt.datetime) -> Json:
        made = {
            "id": self._number(),
            "result": regions,
            "completed_by": by,
            "was_cancelled": skipped,
            "ground_truth": False,
            "created_at": _time(at),
            "updated_at": _time(at),
            "lead_time": None,
            "task": task,
            "project": self.tasks[task]["project"],
        }
        self.tasks[task]["annotations"].append(made)
        return made

    # What it is asked

    def _list_projects(self, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        shown, further = _page(list(self.projects.values()), asked)
        return 200, {
            "count": len(self.projects),
            "next": "more" if further else None,
            "previous": None,
            "results": shown,
        }

    def _create_project(self, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        if not 3 <= len(body["title"]) <= 50:
            return 400, _error("Validation error")
        number = self._number()
        made = {name: body.get(name, "") for name in ("title", "description", "label_config")}
        self.projects[number] = {"id": number, **made}
        return 201, self.projects[number]

    def _import(self, project: int, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        wanted = set(re.findall(r'value="\$(\w+)"', self.projects[project]["label_config"]))
        if any(not wanted <= set(one["data"]) for one in body):
            return 400, _error("Validation error")
        for one in body:
            number = self._number()
            self.tasks[number] = {
                "id": number,
                "project": project,
                "data": one["data"],
                "annotations": [],
                "drafts": [],
            }
            self.tasks[number]["predictions"] = [self._predict(number, said) for said in one.get("predictions", ())]
        count = sum(len(one.get("predictions", ())) for one in body)
        return 201, {"task_count": len(body), "annotation_count": 0, "prediction_count": count}

    def _predict(self, task: int, said: Mapping[str, Any]) -> Json:
        names = ("result", "model_version", "score")
        return {"id": self._number(), "task": task, **{name: said.get(name) for name in names}}

    def _list_tasks(self, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        of_project = [one for one in self.tasks.values() if one["project"] == int(asked["project"])]
        if "query" in asked:
            (rule,) = json.loads(asked["query"])["filters"]["items"]
            if rule["filter"] != "filter:tasks:total_annotations":
                return 400, _error("Validation error")
            # Those that were skipped are counted elsewhere.
            of_project = [one for one in of_project if any(not said["was_cancelled"] for said in one["annotations"])]
        shown, _ = _page(of_project, asked)
        if not shown and int(asked.get("page", 1)) > 1:
            return 404, _error("Invalid page.")
        return 200, {"total": len(of_project), "total_annotations": 0, "total_predictions": 0, "tasks": shown}

    def _change_task(self, task: int, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        self.tasks[task]["data"] = body["data"]
        return 200, self.tasks[task]

    def _delete_task(self, task: int, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        del self.tasks[task]
        return 204, None

    def _add_prediction(self, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        made = self._predict(body["task"], body)
        self.tasks[body["task"]]["predictions"].append(made)
        return 201, made

    def _delete_prediction(self, prediction: int, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        for task in self.tasks.values():
            task["predictions"] = [one for one in task["predictions"] if one["id"] != prediction]
        return 204, None

    def _add_annotation(self, task: int, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        now = dt.datetime.now(dt.UTC)
        return 201, self._annotate(task, body["result"], 1, bool(body.get("was_cancelled")), now)

    def _list_people(self, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [{"id": number, "email": email, "username": ""} for number, email in self.people.items()]


_ROUTES: tuple[tuple[str, str, Any], ...] = (
    (r"/api/projects/?", "GET", ScriptedLabelStudio._list_projects),
    (r"/api/projects/?", "POST", ScriptedLabelStudio._create_project),
    (r"/api/projects/(?P<project>\d+)/import", "POST", ScriptedLabelStudio._import),
    (r"/api/tasks/?", "GET", ScriptedLabelStudio._list_tasks),
    (r"/api/tasks/(?P<task>\d+)/", "PATCH", ScriptedLabelStudio._change_task),
    (r"/api/tasks/(?P<task>\d+)/", "DELETE", ScriptedLabelStudio._delete_task),
    (r"/api/tasks/(?P<task>\d+)/annotations/", "POST", ScriptedLabelStudio._add_annotation),
    (r"/api/predictions/", "POST", ScriptedLabelStudio._add_prediction),
    (r"/api/predictions/(?P<prediction>\d+)/", "DELETE", ScriptedLabelStudio._delete_prediction),
    (r"/api/users/", "GET", ScriptedLabelStudio._list_people),
)


def _page(rows: list[Json], asked: Mapping[str, str]) -> tuple[list[Json], bool]:
    page, size = int(asked.get("page", 1)), int(asked.get("page_size", 30))
    return rows[(page - 1) * size : page * size], len(rows) > page * size


def _error(detail: str) -> Json:
    return {"id": "scripted", "status_code": 0, "version": "1.23.0", "detail": detail, "exc_info": None}


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
