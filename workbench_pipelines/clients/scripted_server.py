"""A real HTTP server on loopback that answers as its script says; what it says is up to who builds on it.

::

    class Echo(ScriptedServer):
        def respond(self, asked):
            return HttpAnswer(200, asked.content)

    with Echo() as server:
        httpx.post(server.address, content=b"hello")

For tests and for trying out a pipeline.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class HttpRequest(NamedTuple):
    """A request, as it came."""

    method: str
    target: str
    headers: Message
    content: bytes


class HttpAnswer(NamedTuple):
    """The answer to a request."""

    status: int
    content: bytes
    headers: Mapping[str, str] = {}


class ScriptedServer(ABC):
    """The server; it runs inside its `with` block, on a free port."""

    def __init__(self) -> None:
        self._http = _Server(self)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @abstractmethod
    def respond(self, asked: HttpRequest) -> HttpAnswer | None:
        """What is said to a request, which comes in a thread of its own; None where the connection ends without an answer."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, scripted: ScriptedServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripted = scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who builds on the server keeps what it was asked."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = self.server.scripted.respond(HttpRequest(self.command, self.path, self.headers, content))
        if said is None:
            self.close_connection = True
            return
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said.content)))
        self.end_headers()
        self.wfile.write(said.content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve
