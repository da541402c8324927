"""Servers that behave as the hub and S3 do for as much of them as a push uses; they can be told to fail."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Remote:
    """What a server holds: objects by name, and for a hub its tags; `fail_at` refuses the request that has it in its path."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.made: list[dict[str, Any]] = []
        self.commits = 0
        self.fail_at: tuple[str, str, int] | None = None
        self.tokens: set[str | None] = set()
        self.url = ""

    def fails(self, method: str, path: str) -> int | None:
        if self.fail_at and self.fail_at[0] == method and self.fail_at[1] in path:
            return self.fail_at[2]
        return None


class _Handler(BaseHTTPRequestHandler):
    remote: Remote
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        return

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers["Content_Length"] = str(len(content))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_any(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self.body()
        self.remote.tokens.add(self.headers.get("Authorization"))
        status = self.remote.fails(self.command, path)
        if status is not None:
            self.answer(status)
            return
        self.served(path, body)

    def served(self, path: str, body: bytes) -> None:
        raise NotImplementedError

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


class _S3(_Handler):
    def served(self, path: str, body: bytes) -> None:
        objects = self.remote.objects
        if self.command == "PUT":
            objects[path] = body
            self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        elif self.command == "DELETE":
            objects.pop(path, None)
            self.answer(204)
        elif path not in objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.answer(200, objects[path])


class _Hub(_Handler):
    def said(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def served(self, path: str, body: bytes) -> None:
        remote, place = self.remote, "/api/datasets/team/data"
        if path == "/api/validate-yaml":
            self.said({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            remote.made.append(json.loads(body))
            self.said({"url": f"{remote.url}/datasets/team/data", "name": "team/data", "id": "1"})
        elif path == f"{place}/refs":
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in remote.tags.items()]
            self.said({"branches": [], "converts": [], "tags": tags})
        elif path == f"{place}/preupload/main":
            names = [one["path"] for one in json.loads(body)["files"]]
            files = [{"path": n, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for n in names]
            self.said({"files": files})
        elif path == f"{place}/commit/main":
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    remote.objects[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            remote.commits += 1
            oid = f"{remote.commits:040d}"
            self.said({"success": True, "commitOid": oid, "commitUrl": f"{remote.url}/datasets/team/data/commit/{oid}"})
        elif path.startswith(f"{place}/tag/"):
            remote.tags[json.loads(body)["tag"]] = path.rpartition("/")[2]
            self.said({})
        elif path.startswith(f"{place}/paths-info/"):
            content = remote.objects.get("manifest.json", b"")
            oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self.said([{"type": "file", "path": "manifest.json", "size": len(content), "oid": oid}])
        elif path == place or path.startswith(f"{place}/revision/"):
            self.said({"id": "team/data", "sha": "0" * 40, "private": True, "siblings": []})
        else:
            self.answer(404)


@contextmanager
def remote_server(kind: type[_Handler]) -> Iterator[Remote]:
    remote = Remote()
    handler = type("Handler", (kind,), {"remote": remote})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        remote.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield remote
        finally:
            server.shutdown()
            thread.join()


def s3_server() -> Any:
    return remote_server(_S3)


def hub_server() -> Any:
    return remote_server(_Hub)
