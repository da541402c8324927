"""The pages of a review: what each one shows, and where each button leads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

from workbench_pipelines.errors import ArgumentError, LabelError, WorkbenchError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.label_form import FormField, form_fields, refilled
from workbench_pipelines.review_page.desk import Conflict
from workbench_pipelines.review_page.posted import FormProblems, Posted, judgement_of, shown_text, words_of
from workbench_pipelines.review_page.sessions import COOKIE, Session, Sessions
from workbench_pipelines.review_page.task_desk import TaskDesk
from workbench_pipelines.review_page.task_pages import next_of_task, task_of
from workbench_pipelines.review_page.views import Assigned, ItemView, PairView

HERE = Path(__file__).parent
_DONE = {
    "approve": "approved",
    "edit": "saved",
    "label": "labeled",
    "reject": "rejected",
    "flag": "flagged",
    "restrict": "restricted",
    "restore": "given back, or restriction lifted",
}


class ReviewPage:
    """The handlers of the page, over one desk; `person_of` says whose token one is."""

    def __init__(self, desk: TaskDesk, person_of: Callable[[str], str | None]) -> None:
        self.desk = desk
        self.person_of = person_of
        self.sessions = Sessions()
        self.templates = Jinja2Templates(directory=str(HERE / "templates"))
        self.templates.env.filters["text"] = shown_text
        self.templates.env.filters["part"] = lambda value: quote(str(value), safe="")

    # Coming and going

    def login(self, request: Request) -> Response:
        return self._page(request, "login.html", None)

    def enter(self, request: Request, posted: Posted) -> Response:
        person = self.person_of(posted.get("token", "").strip())
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
        own, _ = self.desk.assigned(session.person)
        mine = [one for one in own if one.status != "completed"]
        queues, tasks = self.desk.queues.progress(), self.desk.queues.tasks()
        return self._page(request, "start.html", session, queues=queues, tasks=tasks, mine=mine)

    def tasks(self, request: Request, session: Session) -> Response:
        own, others = self.desk.assigned(session.person)
        return self._page(request, "tasks.html", session, own=own, others=others)

    def task(self, request: Request, session: Session) -> Response:
        task = self.desk.view(request.path_params["task_id"], session.person)
        return self._page(request, "task.html", session, task=task)

    def next_of_task(self, request: Request, session: Session) -> Response:
        step = -1 if request.query_params.get("step") == "-1" else 1
        after = request.query_params.get("after")
        return next_of_task(self.desk, session, request.path_params["task_id"], after, step)

    def queue(self, request: Request, session: Session) -> Response:
        name = request.path_params["name"]
        rows = self.desk.queues.open_rows(name, session.person).sort("rank")
        progress = self.desk.queues.progress_of(name)
        shown = rows.head(200).to_dicts()
        sees = self.desk.tables.roles().sees_restricted(session.person)
        for row in shown:
            row["hidden"] = row["data_classification"] in (None, "restricted") and not sees
        return self._page(request, "queue.html", session, name=name, rows=shown, waiting=rows.height, progress=progress)

    def next_pair(self, request: Request, session: Session) -> Response:
        name = request.path_params["name"]
        step = -1 if request.query_params.get("step") == "-1" else 1
        after = request.query_params.get("after")
        found = self.desk.queues.next_open(name, after, session.person, step)
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
            judgement = judgement_of(self.desk, pair.item, session.person, posted, pair)
            self.desk.decide(judgement, posted.get("state", ""))
        except FormProblems as error:
            return self._pair_page(request, session, pair, posted, error.problems, error.line)
        except LabelError as error:
            again = self.desk.pair(name, pair_id, session.person)
            status = 409 if isinstance(error, Conflict) else 422
            return self._pair_page(request, session, again, posted, {}, error.line, status)
        session.notice = f"{_DONE[judgement['action']]}: {pair.item.item_ref}"
        task_id = task_of(request)
        if task_id is not None:
            return next_of_task(self.desk, session, task_id, pair.item.item_ref)
        following = self.desk.queues.next_open(name, pair_id, session.person)
        return _go("queue", name) if following is None else _go("pair", name, following)

    # Mode B: items

    def items(self, request: Request, session: Session) -> Response:
        sheet, label_type = request.path_params["sheet"], request.path_params["label_type"]
        waiting = self.desk.queues.open_items(sheet, label_type, session.person)
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
            judgement = judgement_of(self.desk, item, session.person, posted)
            self.desk.decide(judgement, posted.get("state", ""))
        except FormProblems as error:
            return self._item_page(request, session, item, posted, error.problems, error.line)
        except LabelError as error:
            status = 409 if isinstance(error, Conflict) else 422
            return self._item_page(request, session, self._item_of(request, session), posted, {}, error.line, status)
        session.notice = f"{_DONE[judgement['action']]}: {item.item_ref}"
        task_id = task_of(request)
        if task_id is not None:
            return next_of_task(self.desk, session, task_id, item.item_ref)
        return RedirectResponse(_path("label", item.sheet, item.label_type), status_code=303)

    def image(self, request: Request, session: Session) -> Response:
        asked = request.query_params
        found = self.desk.items.image(
            asked.get("sheet", ""), asked.get("item", ""), asked.get("column", ""), session.person
        )
        if found is None:
            raise HTTPException(404)
        return Response(found[0], media_type=found[1])

    def document(self, request: Request, session: Session) -> Response:
        asked = request.query_params
        found = self.desk.items.document(
            asked.get("sheet", ""), asked.get("item", ""), asked.get("column", ""), session.person
        )
        if found is None:
            raise HTTPException(404)
        # The browser's own viewer shows it, inside the page; nothing in it may reach out.
        rules = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
        headers = {"Content-Security-Policy": rules, "Content-Disposition": "inline"}
        return Response(found[0], media_type=found[1], headers=headers)

    def undo(self, request: Request, session: Session, posted: Posted) -> Response:
        undone = self.desk.undo(session.person)
        session.notice = f"taken back: {undone['action']} of {undone['item_ref']}"
        if undone["pair_id"] and undone["training_sheet"]:
            return _go("pair", undone["training_sheet"], undone["pair_id"])
        return _go_item(undone["sheet"], undone["label_type"], undone["item_ref"])

    # What they share

    def _item_of(self, request: Request, session: Session) -> ItemView:
        sheet, label_type = request.path_params["sheet"], request.path_params["label_type"]
        return self.desk.items.item(sheet, request.query_params.get("ref", ""), label_type, session.person)

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
        progress = self.desk.queues.progress_of(pair.training_sheet)
        answer = None if pair.response is None else json.loads(pair.response)
        actions = self.desk.tables.roles().actions_of(session.person)
        own = pair.proposed_by == session.person
        more = {
            "pair": pair,
            "task": self._task(request, session),
            "progress": progress,
            "answer": _answer_rows(answer),
            "may_approve": "approve" in actions and pair.response is not None and not own,
            "own": own,
            "inputs": [(name, shown_text(value)) for name, value in pair.inputs.items()],
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
        waiting = self.desk.queues.open_items(item.sheet, item.label_type, session.person)
        labeled = next(
            (t for t in self.desk.queues.tasks() if (t.sheet, t.label_type) == (item.sheet, item.label_type)), None
        )
        place = waiting.index(item.item_ref) if item.item_ref in waiting else -1
        following = waiting[place + 1] if 0 <= place < len(waiting) - 1 else (waiting[0] if waiting else None)
        before = waiting[place - 1] if place > 0 else None
        answer = None if item.label is None else json.loads(item.label["label_data"])
        task = self._task(request, session)
        more = {"task": task, "labeled": labeled, "following": following, "before": before}
        fields = form_fields(self.desk.tables.catalog.label_schema(item.label_type), answer)
        return self._form_page(request, "item.html", session, item, fields, posted, problems, line, status_code, more)

    def _task(self, request: Request, session: Session) -> Assigned | None:
        task_id = task_of(request)
        return None if task_id is None else self.desk.view(task_id, session.person)

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
            prohibited=set(words_of(posted or {}, "prohibit", canonical=False)),
            problems=problems or {},
            problem=line,
            actions=self.desk.tables.roles().actions_of(session.person),
            uses=self.desk.tables.catalog.vocabulary(),
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


def _answer_rows(answer: Any) -> list[tuple[str, str]]:
    if isinstance(answer, Mapping):
        return [(str(name), shown_text(value)) for name, value in answer.items()]
    return [] if answer is None else [("answer", shown_text(answer))]


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _go(*parts: str) -> Response:
    return RedirectResponse(_path(*parts), status_code=303)


def _go_item(sheet: str, label_type: str, item_ref: str) -> Response:
    return RedirectResponse(
        f"{_path('label', sheet, label_type, 'item')}?{urlencode({'ref': item_ref})}", status_code=303
    )
