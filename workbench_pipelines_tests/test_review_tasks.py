"""Tasks at the review page: each person's own, blind to what others say, and a third person who decides between them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.job_items import JobAsk, sheet_now
from workbench_pipelines.labeling_jobs import Job, create_job, tasks_now
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.browser_world import CONTROL, ENTER, MISSING, axe, chromium, faults
from workbench_pipelines_tests.job_world import planted_job
from workbench_pipelines_tests.page_world import Person, at_the_page, copied, served
from workbench_pipelines_tests.project_world import Project

__all__ = ["planted_job"]


@pytest.fixture
def workbench(planted_job: Project, tmp_path: Path) -> Workbench:
    return copied(planted_job, tmp_path / "project")


def give(workbench: Workbench, *people: str, limit: int = 2, annotators: int = 1, **ask: object) -> Job:
    asked = JobAsk(**{"training_sheet": "drafted", "limit": limit, "instructions": "Mind invoices.", **ask})  # type: ignore[arg-type]
    return create_job(workbench, asked, people, by="bob", annotators=annotators)


def leads_to(person: Person) -> str:
    return str(person.page.url.path)


def test_a_task_leads_through_its_own_items_and_ends(workbench: Workbench) -> None:
    job = give(workbench, "ann", limit=3)
    task = job.tasks[0]
    with at_the_page(workbench, "ann", "rob") as (ann, rob):
        assert job.name in ann.get("/")
        assert "0 / 3 done" in ann.get("/tasks")
        assert "Mind invoices." in ann.get(f"/tasks/{task.task_id}")
        ann.get(f"/tasks/{task.task_id}/next")
        seen = [leads_to(ann)]
        assert "0 / 3" in ann.page.text
        assert "Mind invoices." in ann.page.text
        ann.get(f"/tasks/{task.task_id}/next?after={task.item_refs[0]}")
        assert leads_to(ann) != seen[0]
        ann.get(f"/tasks/{task.task_id}/next?after={task.item_refs[1]}&step=-1")
        assert leads_to(ann) == seen[0]
        for action, typed in (("edit", {"label__team": '"billing"'}), ("reject", {"reason": "no ticket"})):
            assert ann.send(action, **typed).status_code == 200
            seen.append(leads_to(ann))
        ann.send("edit", label__team='"access"')
        assert leads_to(ann) == f"/tasks/{task.task_id}"
        assert "3 / 3 done · completed" in ann.page.text
        assert "Nothing of it is left to do" in ann.page.text
        assert len(set(seen)) == 3
        assert "Nothing is assigned to you" in rob.get("/tasks")
        assert rob.client.get(f"/tasks/{task.task_id}").status_code == 404
    (done,) = tasks_now(workbench)
    assert (done.status, len(done.done)) == ("completed", 3)


def test_items_without_a_pair_are_a_task_as_well(workbench: Workbench) -> None:
    job = give(workbench, "ann", training_sheet=None, sheet="tickets", label_type="team", items=("T-003",))
    with at_the_page(workbench, "ann", "stella") as (ann, stella):
        ann.get(f"/tasks/{job.tasks[0].task_id}/next")
        assert "/label/tickets/team/item" in str(ann.page.url)
        ann.send("label", label__team='"billing"')
        assert "1 / 1 done · completed" in ann.page.text
        assert "Tasks of others" in stella.get("/tasks")


def test_annotators_see_nothing_of_each_other_and_a_third_person_decides(workbench: Workbench) -> None:
    definitions = workbench.settings.project / "sheets/all.yaml"
    definitions.write_text(definitions.read_text().replace("review: {}", "review: {annotators: 2}"))
    job = give(workbench, "ann", "rob", limit=1, annotators=2)
    item = job.tasks[0].item_refs[0]
    tasks = {task.assignee: task.task_id for task in job.tasks}
    with at_the_page(workbench, "ann", "rob", "eve") as (ann, rob, eve):
        for person, name in ((ann, "ann"), (rob, "rob")):
            person.get(f"/tasks/{tasks[name]}/next")  # both have it open at one time
        pair = leads_to(rob)
        assert ann.send("edit", label__team='"billing"', notes="it says invoice").status_code == 200
        assert "1 / 1 done" in ann.page.text
        rob.get(f"{pair}?task={tasks['rob']}")
        assert "billing</code>" not in rob.page.text
        assert "it says invoice" not in rob.page.text
        assert "answered by ann, waits for another annotator" in rob.page.text
        # An approver who comes too early answers on their own, and may not say that they decide.
        eve.get(pair)
        assert "What annotators said" not in eve.page.text
        assert eve.send("edit", label__team='"other"', adjudicates="1").status_code == 422
        assert "decides between its annotators" in eve.page.text
        assert rob.send("edit", label__team='"access"').status_code == 200  # and nobody was in the way
        rob.get(pair)
        assert "ann and rob disagree, waits for a third person" in rob.page.text
        assert "billing</code>" not in rob.page.text
        assert rob.hidden()["adjudicates"] == "0"
        assert item not in rob.get("/queue/drafted")
        eve.get(pair)
        assert "What annotators said" in eve.page.text
        assert "{&#34;team&#34;:&#34;billing&#34;}" in eve.page.text
        assert eve.hidden()["adjudicates"] == "1"
        assert eve.send("edit", label__team='"access"').status_code == 200
        rob.get(pair)
        assert "billing" in rob.page.text  # now that there is a label, everybody sees what it came from
    ledger = workbench.decisions().sort("at")
    assert ledger.select("by", "adjudicates").rows() == [("ann", None), ("rob", None), ("eve", True)]
    (label,) = sheet_now(workbench, "tickets").labels.to_dicts()
    assert (label["label_data"], label["active"], label["annotators"]) == ('{"team":"access"}', True, ["ann", "rob"])


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_a_task_is_done_by_the_keyboard_alone(workbench: Workbench) -> None:
    task = give(workbench, "ann", limit=3).tasks[0]
    with served(workbench) as url, chromium() as window:
        window.go(f"{url}/login")
        window.type(ReviewTokens(workbench.settings.state).issue("ann"))
        window.press(ENTER)
        wait(lambda: "What waits" in window.text())
        checker = axe()
        for path in ("/tasks", f"/tasks/{task.task_id}"):
            window.go(url + path)
            assert checker is None or faults(window, checker) == []
        window.press("j")
        for number in range(3):
            wait(lambda: "/pair/" in window.url and window.run("return document.readyState") == "complete")
            wait(lambda number=number: window.text("#progress") == f"{number} / 3")
            window.press("2", CONTROL + ENTER)
        wait(lambda: window.url == f"{url}/tasks/{task.task_id}")
        assert "3 / 3 done" in window.text()
    said = workbench.decisions().select("action", "label_data", "by").unique()
    assert said.rows() == [("edit", '{"team":"billing"}', "ann")]
    assert set(workbench.decisions()["item_ref"]) == set(task.item_refs)
    assert [one.status for one in tasks_now(workbench)] == ["completed"]


def wait(ready: object) -> None:
    assert callable(ready)
    for _ in range(200):
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError("the page did not come to it")
