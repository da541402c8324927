"""The files and batches of the scripted provider: what OpenAI's `/v1/files` and `/v1/batches` answer, as a script says.

::

    with ScriptedProvider() as provider:
        provider.batches.shuffle(7)                # the lines come back in another order than they went in
        provider.batches.status = "in_progress"    # what a batch is until it is ended
        provider.batches.end()                     # every batch is completed: each line asks what the provider answers
        provider.batches.end("expired", answered=5)
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Line = dict[str, Any]
Reply = Callable[[dict[str, Any]], tuple[int, bytes]]
"""What the provider says to the body of a chat completion: an HTTP status and a body."""


class ScriptedBatches:
    """Files by id, and batches by id, the newest last."""

    def __init__(self, reply: Reply) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.status = "in_progress"
        self.ends_at_once = False
        self.on_post: Callable[[str], None] = lambda path: None
        """Called after a file or batch came in, before the provider answers: where a test kills its client."""
        self.refuses: tuple[int, str] | None = None
        self._reply = reply
        self._edit: Callable[[list[Line]], list[Line]] = lambda lines: lines
        self._lock = threading.RLock()
        self._count = 0

    def shuffle(self, seed: int) -> None:
        """Answers come back in another order."""
        self.edit(lambda lines: random.Random(seed).sample(lines, len(lines)))  # noqa: S311  # a script, no secret

    def edit(self, change: Callable[[list[Line]], list[Line]]) -> None:
        """What is done to the lines of an output file before anybody sees it."""
        self._edit = change

    def end(self, status: str = "completed", *, answered: int | None = None, codes: Sequence[str] = ()) -> None:
        """Ends every batch that is worked on; of one that is not completed, so many lines are answered."""
        with self._lock:
            for batch in self.batches.values():
                if batch["status"] in ("validating", "in_progress", "finalizing"):
                    self._end(batch, status, answered, codes)

    def handle(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes] | None:
        """The answer to a request under `/v1/files` or `/v1/batches`; None for any other path."""
        place, _, query = path.partition("?")
        parts = place.strip("/").split("/")[1:]
        if not parts or parts[0] not in ("files", "batches"):
            return None
        if method == "POST" and self.refuses is not None:
            return _error(*self.refuses)
        with self._lock:
            answer = (
                self._files(parts, body, content_type) if parts[0] == "files" else self._batches(parts, body, query)
            )
        if method == "POST":
            self.on_post(parts[0])
        return answer

    def _files(self, parts: Sequence[str], body: bytes, content_type: str) -> tuple[int, bytes]:
        if len(parts) == 1:
            name, content = _uploaded(body, content_type)
            return 200, _json(self._filed(name, content))
        found = self.files.get(parts[1])
        return (200, found) if found is not None else _error(404, "no_such_file")

    def _filed(self, name: str, content: bytes) -> dict[str, Any]:
        self._count += 1
        file_id = f"file-{self._count}"
        self.files[file_id] = content
        described = {"id": file_id, "object": "file", "bytes": len(content), "created_at": int(time.time())}
        return {**described, "filename": name, "purpose": "batch", "status": "processed"}

    def _batches(self, parts: Sequence[str], body: bytes, query: str) -> tuple[int, bytes]:
        if len(parts) > 1:
            found = self.batches.get(parts[1])
            return (200, _json(found)) if found is not None else _error(404, "no_such_batch")
        if not body:
            return 200, _json(self._page(query))
        asked = json.loads(body)
        if asked["input_file_id"] not in self.files:
            return _error(400, "no_such_file")
        batch = self._new(asked)
        self.batches[batch["id"]] = batch
        if self.ends_at_once:
            self._end(batch, "completed", None, ())
        return 200, _json(batch)

    def _new(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._count += 1
        total = len(self.files[asked["input_file_id"]].splitlines())
        fields = ("errors", "output_file_id", "error_file_id", "in_progress_at", "completed_at", "expired_at")
        return {
            **dict.fromkeys((*fields, "failed_at", "cancelled_at")),
            "id": f"batch_{self._count}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "status": self.status,
            "created_at": int(time.time()),
            "metadata": asked.get("metadata"),
            "request_counts": {"total": total, "completed": 0, "failed": 0},
        }

    def _page(self, query: str) -> dict[str, Any]:
        given = dict(part.partition("=")[::2] for part in query.split("&"))
        newest = list(reversed(self.batches.values()))
        names = [batch["id"] for batch in newest]
        start = names.index(given["after"]) + 1 if given.get("after") in names else 0
        page = newest[start : start + int(given.get("limit", 20))]
        return {"object": "list", "data": page, "has_more": start + len(page) < len(newest)}

    def _end(self, batch: dict[str, Any], status: str, answered: int | None, codes: Sequence[str]) -> None:
        asked = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        if status == "failed":
            asked, answered = [], 0
            data = [{"code": code, "message": f"scripted: {code}", "line": 1, "param": None} for code in codes]
            batch["errors"] = {"object": "list", "data": data}
        done = len(asked) if answered is None else answered
        replied = [self._line(one) for one in asked[:done]]
        good = self._edit([line for line in replied if line["response"]["status_code"] == 200])
        bad = [line for line in replied if line["response"]["status_code"] != 200]
        if status in ("expired", "cancelled"):
            bad += [
                {
                    "id": f"line-{one['custom_id'][:8]}",
                    "custom_id": one["custom_id"],
                    "response": None,
                    "error": {"code": f"batch_{status}", "message": "This request could not be executed in time."},
                }
                for one in asked[done:]
            ]
        for name, lines in (("output", good), ("error", bad)):
            if lines:
                content = b"".join(_json(line) + b"\n" for line in lines)
                batch[f"{name}_file_id"] = self._filed(f"{name}.jsonl", content)["id"]
        batch["status"] = status
        batch[f"{status}_at"] = int(time.time()) + 1
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}

    def _line(self, asked: Mapping[str, Any]) -> Line:
        status, body = self._reply(dict(asked["body"]))
        response = {"status_code": status, "request_id": "scripted", "body": json.loads(body)}
        return {"id": "scripted", "custom_id": asked["custom_id"], "response": response, "error": None}


def _uploaded(body: bytes, content_type: str) -> tuple[str, bytes]:
    """The name and content of the file in a form, as the SDK sends it."""
    boundary = re.search(r"boundary=([^;]+)", content_type)
    assert boundary
    for part in body.split(b"--" + boundary[1].encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        named = re.search(rb'filename="([^"]*)"', head)
        if named:
            return named[1].decode(), content.removesuffix(b"\r\n")
    raise AssertionError("the form holds no file")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _error(status: int, code: str) -> tuple[int, bytes]:
    return status, _json({"error": {"message": f"scripted: {code}", "type": "scripted", "code": code}})
