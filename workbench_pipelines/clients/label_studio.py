"""The door to Label Studio: its projects, tasks, predictions and people, over plain REST.

It runs in an environment of its own, here or elsewhere; nothing of it is imported. The token goes into one header and into no
message, redirects are not followed, and what the server says is not repeated: it could quote a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from workbench_pipelines.disclosure import is_in_house
from workbench_pipelines.errors import ArgumentError, MissingPart

TIMEOUT_S = 60.0  # an import of a few hundred tasks takes seconds, and its machine may be busy
PAGE = 100
Json = dict[str, Any]
# Of a thousand tasks few are annotated at a time, and each is written out whole.
_ANNOTATED = json.dumps(
    {
        "filters": {
            "conjunction": "and",
            "items": [
                {"filter": "filter:tasks:total_annotations", "operator": "greater", "type": "Number", "value": 0}
            ],
        }
    }
)


class LabelStudio:
    """One Label Studio.

    Args:
        url: its address, without a path in most cases.
        token: the token of the person who works there for the project.

    Raises:
        ArgumentError: for an address that is none, or that a token would be sent to in the open.
    """

    def __init__(self, url: str, token: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ArgumentError("LABEL_STUDIO_URL: this is no address; write it like http://127.0.0.1:8080")
        if parts.scheme == "http" and not is_in_house(url, ""):
            raise ArgumentError("LABEL_STUDIO_URL: a token goes to another network by https only")
        self.place = f"Label Studio at {parts.hostname}{f':{parts.port}' if parts.port else ''}"
        if not token.isascii() or not token.isprintable():
            raise ArgumentError("LABEL_STUDIO_TOKEN: this is no token")
        # A private address is no business of a proxy.
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Token {token}"},
            timeout=httpx.Timeout(timeout_s, connect=10),
            trust_env=not is_in_house(url, ""),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def projects(self) -> Iterator[Json]:
        """Every project that this person sees."""
        page = 1
        while True:
            found = self._call("GET", "/api/projects", params={"page": page, "page_size": PAGE})
            yield from found["results"]
            if not found.get("next"):
                return
            page += 1

    def create_project(self, title: str, description: str, config: str) -> Json:
        said = {"title": title, "description": description, "label_config": config}
        return dict(self._call("POST", "/api/projects", json=said))

    def tasks(self, project: int, *, annotated: bool = False) -> Iterator[Json]:
        """Every task of a project with its annotations, drafts and predictions; or those alone that somebody said something of."""
        page, seen = 1, 0
        while True:
            found = self._tasks(project, page, PAGE, annotated)
            yield from found["tasks"]
            seen += len(found["tasks"])
            if not found["tasks"] or seen >= found["total"]:
                return
            page += 1

    def count_tasks(self, project: int) -> int:
        return int(self._tasks(project, 1, 1, False)["total"])

    def _tasks(self, project: int, page: int, size: int, annotated: bool) -> Json:
        asked = {"project": project, "page": page, "page_size": size, "fields": "all"}
        return dict(self._call("GET", "/api/tasks", params=asked | ({"query": _ANNOTATED} if annotated else {})))

    def add_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Adds tasks with their predictions; how many there are more."""
        return int(self._call("POST", f"/api/projects/{project}/import", json=list(tasks))["task_count"])

    def update_task(self, task: int, data: Mapping[str, Any]) -> None:
        self._call("PATCH", f"/api/tasks/{task}/", json={"data": dict(data)})

    def delete_task(self, task: int) -> None:
        self._call("DELETE", f"/api/tasks/{task}/")

    def add_prediction(self, task: int, prediction: Mapping[str, Any]) -> None:
        self._call("POST", "/api/predictions/", json={"task": task, **prediction})

    def delete_prediction(self, prediction: int) -> None:
        self._call("DELETE", f"/api/predictions/{prediction}/")

    def annotate(self, task: int, regions: Sequence[Mapping[str, Any]], *, skipped: bool = False) -> Json:
        """Says something of a task, as a person does by its page."""
        said = {"result": list(regions), "was_cancelled": skipped}
        return dict(self._call("POST", f"/api/tasks/{task}/annotations/", json=said))

    def people(self) -> dict[int, str]:
        """The e-mail of each person by their number."""
        return {int(one["id"]): str(one["email"]) for one in self._call("GET", "/api/users/")}

    def _call(self, method: str, path: str, **request: Any) -> Any:
        """What the server answers.

        Raises:
            MissingPart: where it does not answer, refuses the token or what it is sent.
        """
        try:
            answer = self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise MissingPart(
                f"{self.place} does not answer ({type(error).__name__}); start it with `make label-studio`, or set "
                "LABEL_STUDIO_URL"
            ) from None
        if answer.status_code in (401, 403):
            raise MissingPart(
                f"{self.place} refused the token ({answer.status_code}); set LABEL_STUDIO_TOKEN to one of it"
            )
        if not answer.is_success:
            raise MissingPart(f"{self.place} refused {method} {path} ({answer.status_code}); nothing more was sent")
        if method == "DELETE":
            return None
        try:
            return answer.json()
        except ValueError:
            raise MissingPart(f"{self.place} answers something else than Label Studio ({method} {path})") from None
