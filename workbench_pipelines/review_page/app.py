"""The review page as a web application: routes, sessions and headers; what it shows and saves is the desk's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.errors import ArgumentError, LabelError, WorkbenchError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.label_form import FormField, form_fields, read_form, refilled
from workbench_pipelines.review_page.desk import Conflict, Desk, now
from workbench_pipelines.review_page.sessions import COOKIE, Session, Sessions
from workbench_pipelines.review_page.views import ItemView, PairView
from workbench_pipelines.workbench import Workbench

HERE = Path(__file__).parent
LOOPBACK = ("127.0.0.1", "localhost")
MAX_FORM = 4 * 1024 * 1024  # a long document's summary and its boxes are far below
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Posted = Mapping[str, str]


class ReviewPage:
    """The handlers of the page, over one desk."""

    def __init__(self, desk: Desk, tokens: ReviewTokens) -> None:
        self.desk = desk
        self.tokens = tokens
        self.sessions = Sessions()
        self.templates = Jinja2Templates(directory=str(HERE / "templates"))
        self.templates.env.filters["text"] = _text
        self.templates.env.filters["part"] = lambda value: quote(str(value), safe="")

    # Coming and going

    def login(self, request: Request) -> Response:
        return self._page(request, "login.html", None)

    def enter(self, request: Request, posted: Posted) -> Response:
        person = self.tokens.person_of(posted.get("token", "").strip())
        if person is None:
            return self._page(request, "login.html", None, problem="This is nobody's token.", status_code=403)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, self.sessions.open(person), httponly=True, samesite="strict", path="/")
        return answer

    def leave(self, request: Request, session: Session, posted: Posted) -> Response:
        self.sessions.close(request.cookies.get(COOKIE))
        return RedirectResponse("/login", status_code=303)

    # Mode A: pairs

    def start(self, request: Request, session: Session) -> Response:
        return self._page(request, "start.html", session, queues=self.desk.progress(), tasks=self.desk.tasks())

    def queue(self, request: Request, session: Session) -> Response:
        name = request.path_params["name"]
        rows = self.desk.open_rows(name, session.person).sort("rank")
        progress = self.desk.progress_of(name)
        shown = rows.head(200).to_dicts()
        sees = self.desk.roles().sees_restricted(session.person)
        for row in shown:
            row["hidden"] = row["data_classification"] in (None, "restricted") and not sees
        return self._page(request, "queue.html", session, name=name, rows=shown, waiting=rows.height, progress=progress)

    def next_pair(self, request: Request, session: Session) -> Response:
        name = request.path_params["name"]
        step = -1 if request.query_params.get("step") == "-1" else 1
        after = request.query_params.get("after")
        found = self.desk.next_open(name, after, session.person, step)
        if found is None and step < 0 and after:
            found = after
        return _go("queue", name) if found is None else _go("pair", name, found)

    def pair(self, request: Request, session: Session) -> Response:
        name, pair_id = request.path_params["name"], request.path_params["pair_id"]
        return self._pair_page(request, session, self.desk.pair(name, pair_id, session.person))

    def judge_pair(self, request: Request, session: Session, posted: Posted) -> Response:
        name, pair_id = request.path_params["name"], request.path_params["pair_id"]
        pair = self.desk.pair(name, pair_id, session.person)
        if not pair.visible:
            raise LabelError("you may not see this pair, and so not decide on it")
        try:
            if posted.get("response_hash", "") != (pair.response_hash or ""):
                raise Conflict("the answer of this pair changed after you opened it; look at it again, then save")
            judgement = self._judgement(pair.item, session, posted, pair)
            self.desk.decide(judgement, posted.get("state", ""))
        except FormProblems as error:
            return self._pair_page(request, session, pair, posted, error.problems, error.line)
        except LabelError as error:
            again = self.desk.pair(name, pair_id, session.person)
            status = 409 if isinstance(error, Conflict) else 422
            return self._pair_page(request, session, again, posted, {}, error.line, status)
        session.notice = f"{_DONE[judgement['action']]}: {pair.item.item_ref}"
        following = self.desk.next_open(name, pair_id, session.person)
        return _go("queue", name) if following is None else _go("pair", name, following)

    # Mode B: items

    def items(self, request: Request, session: Session) -> Response:
        sheet, label_type = request.path_params["sheet"], request.path_params["label_type"]
        waiting = self.desk.open_items(sheet, label_type, session.person)
        if waiting:
            return _go_item(sheet, label_type, waiting[0])
        return self._page(request, "all_labeled.html", session, sheet=sheet, label_type=label_type)

    def item(self, request: Request, session: Session) -> Response:
        return self._item_page(request, session, self._item_of(request, session))

    def judge_item(self, request: Request, session: Session, posted: Posted) -> Response:
        item = self._item_of(request, session)
        if not item.visible:
            raise LabelError("you may not see this item, and so not decide on it")
        try:
            judgement = self._judgement(item, session, posted, None)
            self.desk.decide(judgement, posted.get("state", ""))
        except FormProblems as error:
            return self._item_page(request, session, item, posted, error.problems, error.line)
        except LabelError as error:
            status = 409 if isinstance(error, Conflict) else 422
            return self._item_page(request, session, self._item_of(request, session), posted, {}, error.line, status)
        session.notice = f"{_DONE[judgement['action']]}: {item.item_ref}"
        return RedirectResponse(_path("label", item.sheet, item.label_type), status_code=303)

    def image(self, request: Request, session: Session) -> Response:
        asked = request.query_params
        found = self.desk.image(asked.get("sheet", ""), asked.get("item", ""), asked.get("column", ""), session.person)
        if found is None:
            raise HTTPException(404)
        return Response(found[0], media_type=found[1])

    def undo(self, request: Request, session: Session, posted: Posted) -> Response:
        undone = self.desk.undo(session.person)
        session.notice = f"taken back: {undone['action']} of {undone['item_ref']}"
        if undone["pair_id"] and undone["training_sheet"]:
            return _go("pair", undone["training_sheet"], undone["pair_id"])
        return _go_item(undone["sheet"], undone["label_type"], undone["item_ref"])

    # What they share

    def _item_of(self, request: Request, session: Session) -> ItemView:
        sheet, label_type = request.path_params["sheet"], request.path_params["label_type"]
        return self.desk.item(sheet, request.query_params.get("ref", ""), label_type, session.person)

    def _judgement(self, item: ItemView, session: Session, posted: Posted, pair: PairView | None) -> dict[str, Any]:
        """What a person says by a form.

        Raises:
            FormProblems: for fields that hold no answer.
        """
        action = posted.get("action", "")
        looked = posted.get("looked") == "1"
        said: dict[str, Any] = {
            "sheet": item.sheet,
            "item_ref": item.item_ref,
            "label_type": item.label_type,
            "action": action,
            "by": session.person,
            "at": now(),
            "reason": posted.get("reason", "").strip() or None,
            # As the page that was looked at had them, and not as they are now.
            "seen_columns": _words(posted, "all_columns" if looked else "columns") or None,
            "seen_hash": posted.get("all_seen_hash" if looked else "seen_hash") or None,
        }
        if pair is not None:
            said |= {"training_sheet": pair.training_sheet, "pair_id": pair.pair_id}
            said |= {"response_hash": pair.response_hash, "proposed_response": pair.response}
        if action == "approve" and pair is not None and _is_edited(pair, posted):
            raise FormProblems({"": "you changed the form; save it as an edit, or load the page anew to approve"})
        if action in ("edit", "label"):
            schema = self.desk.catalog.label_schema(item.label_type)
            answer, problems = read_form(schema, posted)
            if problems:
                raise FormProblems(problems)
            said |= {"label_data": answer, "confidence": posted.get("confidence") or None}
            said["notes"] = posted.get("notes", "").strip() or None
            # A label that is there already is changed by an edit, which keeps what is stated of its uses.
            said["action"] = "edit" if item.label is not None or pair is not None else "label"
        if action == "edit" and pair is not None:
            changed = _changed_inputs(pair.inputs, posted)
            if changed:
                self.desk.check_inputs(pair.training_sheet, pair.pair_id, changed)
                said["inputs"] = {**pair.edited, **changed}
        if action in ("edit", "label", "restrict"):
            said["prohibited_uses"] = _words(posted, "prohibit", canonical=False)
            said["usage_reason"] = posted.get("usage_reason", "").strip() or None
        if action in ("restrict", "restore"):
            # These are about the label, whatever pair it was looked at in.
            said |= dict.fromkeys(("training_sheet", "pair_id", "response_hash", "proposed_response"))
            said["reason"] = posted.get("usage_reason", "").strip() or None
        return said

    def _pair_page(
        self,
        request: Request,
        session: Session,
        pair: PairView,
        posted: Posted | None = None,
        problems: Mapping[str, str] | None = None,
        line: str | None = None,
        status_code: int = 200,
    ) -> Response:
        progress = self.desk.progress_of(pair.training_sheet)
        answer = None if pair.response is None else json.loads(pair.response)
        actions = self.desk.roles().actions_of(session.person)
        own = pair.proposed_by == session.person
        more = {
            "pair": pair,
            "progress": progress,
            "answer": _answer_rows(answer),
            "may_approve": "approve" in actions and pair.response is not None and not own,
            "own": own,
            "inputs": [(name, _text(value)) for name, value in pair.inputs.items()],
        }
        fields = form_fields(pair.schema, answer)
        return self._form_page(
            request, "pair.html", session, pair.item, fields, posted, problems, line, status_code, more
        )

    def _item_page(
        self,
        request: Request,
        session: Session,
        item: ItemView,
        posted: Posted | None = None,
        problems: Mapping[str, str] | None = None,
        line: str | None = None,
        status_code: int = 200,
    ) -> Response:
        waiting = self.desk.open_items(item.sheet, item.label_type, session.person)
        task = next((t for t in self.desk.tasks() if (t.sheet, t.label_type) == (item.sheet, item.label_type)), None)
        place = waiting.index(item.item_ref) if item.item_ref in waiting else -1
        following = waiting[place + 1] if 0 <= place < len(waiting) - 1 else (waiting[0] if waiting else None)
        before = waiting[place - 1] if place > 0 else None
        answer = None if item.label is None else json.loads(item.label["label_data"])
        more = {"task": task, "following": following, "before": before}
        fields = form_fields(self.desk.catalog.label_schema(item.label_type), answer)
        return self._form_page(request, "item.html", session, item, fields, posted, problems, line, status_code, more)

    def _form_page(
        self,
        request: Request,
        template: str,
        session: Session,
        item: ItemView,
        fields: list[FormField],
        posted: Posted | None,
        problems: Mapping[str, str] | None,
        line: str | None,
        status_code: int,
        more: Mapping[str, Any],
    ) -> Response:
        if posted is not None:
            fields = refilled(fields, posted)
        if problems:
            status_code = 422
        return self._page(
            request,
            template,
            session,
            status_code=status_code,
            item=item,
            fields=fields,
            typed=posted or {},
            prohibited=set(_words(posted or {}, "prohibit", canonical=False)),
            problems=problems or {},
            problem=line,
            actions=self.desk.roles().actions_of(session.person),
            uses=self.desk.catalog.vocabulary(),
            columns=canonical_text(item.columns),
            all_columns=canonical_text(item.all_columns),
            **more,
        )

    def _page(
        self, request: Request, template: str, session: Session | None, status_code: int = 200, **values: Any
    ) -> Response:
        notice = session.take_notice() if session is not None else None
        shown = {"session": session, "notice": notice, **values}
        return self.templates.TemplateResponse(request, template, shown, status_code=status_code)

    def failed(self, request: Request, error: Exception) -> Response:
        """What went wrong, in one line and never with where it did."""
        session = self.sessions.of(request.cookies.get(COOKIE))
        code, line = 500, f"Something unexpected went wrong ({type(error).__name__}). Nothing was saved."
        if isinstance(error, HTTPException):
            code, line = error.status_code, error.detail if error.status_code != 404 else "There is nothing here."
        elif isinstance(error, WorkbenchError):
            code, line = (404 if isinstance(error, ArgumentError) else 422), error.line
        return self._page(request, "error.html", session, status_code=code, problem=line)


class FormProblems(LabelError):
    """Fields of a form that hold no answer, each with what is wrong."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("not saved: " + "; ".join(f"{name} {why}".strip() for name, why in problems.items()))
        self.problems = problems


def review_app(workbench: Workbench, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The page of a project; only these hosts are answered, so that no other site can lead a browser here."""
    page = ReviewPage(Desk(workbench), ReviewTokens(workbench.settings.state))

    def seen(handler: Callable[[Request, Session], Response]) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            session = page.sessions.of(request.cookies.get(COOKIE))
            return RedirectResponse("/login", status_code=303) if session is None else handler(request, session)

        return guarded

    def sent(handler: Callable[[Request, Session, Posted], Response]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            from starlette.concurrency import run_in_threadpool

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
        Route("/undo", sent(page.undo), methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_Headers)],
        exception_handlers={WorkbenchError: failed, HTTPException: failed, Exception: failed},
    )


class _Headers:
    """Puts the headers on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self.app(scope, receive, with_headers)


_DONE = {
    "approve": "approved",
    "edit": "saved",
    "label": "labeled",
    "reject": "rejected",
    "flag": "flagged",
    "restrict": "restricted",
    "restore": "restriction lifted",
}


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


def _words(posted: Posted, name: str, canonical: bool = True) -> list[str]:
    text = posted.get(name, "")
    if not canonical:
        return [line for line in text.split("\n") if line]
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def _is_edited(pair: PairView, posted: Posted) -> bool:
    """Whether a form says something else than the answer that was proposed."""
    answer = None if pair.response is None else json.loads(pair.response)
    fields = form_fields(pair.schema, answer)
    typed = any(posted.get(one.input_name, one.text).replace("\r\n", "\n") != one.text for one in fields)
    return typed or bool(_changed_inputs(pair.inputs, posted))


def _changed_inputs(inputs: Mapping[str, Any], posted: Posted) -> dict[str, Any]:
    """The prompt inputs that a person changed: text as it is, anything else as JSON."""
    changed: dict[str, Any] = {}
    for name, value in inputs.items():
        text = posted.get(f"input.{name}")
        if text is None or text.replace("\r\n", "\n") == _text(value):
            continue
        text = text.replace("\r\n", "\n")
        if isinstance(value, str):
            changed[name] = text
            continue
        try:
            changed[name] = json.loads(text)
        except ValueError:
            changed[name] = text
    return changed


def _answer_rows(answer: Any) -> list[tuple[str, str]]:
    if isinstance(answer, Mapping):
        return [(str(name), _text(value)) for name, value in answer.items()]
    return [] if answer is None else [("answer", _text(answer))]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    try:
        return canonical_text(value)
    except TypeError:
        return str(value)


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _go(*parts: str) -> Response:
    return RedirectResponse(_path(*parts), status_code=303)


def _go_item(sheet: str, label_type: str, item_ref: str) -> Response:
    return RedirectResponse(
        f"{_path('label', sheet, label_type, 'item')}?{urlencode({'ref': item_ref})}", status_code=303
    )
