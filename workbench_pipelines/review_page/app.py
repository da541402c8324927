"""The review page as a web application: routes, sessions and headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.review_page.pages import HERE, ReviewPage
from workbench_pipelines.review_page.posted import Posted
from workbench_pipelines.review_page.sessions import COOKIE, Session
from workbench_pipelines.review_page.task_desk import TaskDesk
from workbench_pipelines.workbench import Workbench

LOOPBACK = ("127.0.0.1", "localhost")
MAX_FORM = 4 * 1024 * 1024  # a long document's summary and its boxes are far below
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def review_app(workbench: Workbench, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The page of a project; only these hosts are answered, so that no other site can lead a browser here."""
    page = ReviewPage(TaskDesk(workbench), ReviewTokens(workbench.settings.state).person_of)

    def seen(handler: Callable[[Request, Session], Response]) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            session = page.sessions.of(request.cookies.get(COOKIE))
            return RedirectResponse("/login", status_code=303) if session is None else handler(request, session)

        return guarded

    def sent(handler: Callable[[Request, Session, Posted], Response]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            session = page.sessions.of(request.cookies.get(COOKIE))
            if session is None:
                return RedirectResponse("/login", status_code=303)
            posted = await _posted(request)
            if posted.get("form_key") != session.form_key:
                raise HTTPException(403, "This form is not of your session. Open the page anew.")
            return await run_in_threadpool(handler, request, session, posted)

        return guarded

    async def enter(request: Request) -> Response:
        return page.enter(request, await _posted(request))

    async def failed(request: Request, error: Exception) -> Response:
        return page.failed(request, error)

    routes = [
        Route("/login", page.login, methods=["GET"]),
        Route("/login", enter, methods=["POST"]),
        Route("/logout", sent(page.leave), methods=["POST"]),
        Route("/", seen(page.start)),
        Route("/queue/{name}", seen(page.queue)),
        Route("/queue/{name}/next", seen(page.next_pair)),
        Route("/pair/{name}/{pair_id}", seen(page.pair), methods=["GET"]),
        Route("/pair/{name}/{pair_id}", sent(page.judge_pair), methods=["POST"]),
        Route("/label/{sheet}/{label_type}", seen(page.items)),
        Route("/label/{sheet}/{label_type}/item", seen(page.item), methods=["GET"]),
        Route("/label/{sheet}/{label_type}/item", sent(page.judge_item), methods=["POST"]),
        Route("/image", seen(page.image)),
        Route("/document", seen(page.document)),
        Route("/tasks", seen(page.tasks)),
        Route("/tasks/{task_id}", seen(page.task)),
        Route("/tasks/{task_id}/next", seen(page.next_of_task)),
        Route("/undo", sent(page.undo), methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_Headers)],
        exception_handlers={WorkbenchError: failed, HTTPException: failed, Exception: failed},
    )


class _Headers:
    """Puts the headers on every answer that does not say them itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", []))
                named = {name for name, _ in own}
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": own + [one for one in extra if one[0] not in named]}
            await send(message)

        await self.app(scope, receive, with_headers)


async def _posted(request: Request) -> Posted:
    """The fields of a form; of several with one name the values in lines."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413, "This is more than a form holds.")
    posted: dict[str, str] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        posted[name] = f"{posted[name]}\n{value}" if name == "prohibit" and name in posted else value
    return posted
