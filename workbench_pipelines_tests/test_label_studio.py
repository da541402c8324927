"""Reviews in Label Studio: each task once, what was said once, and nothing that is restricted."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from workbench_pipelines.clients.label_studio import LabelStudio
from workbench_pipelines.clients.scripted_label_studio import ScriptedLabelStudio
from workbench_pipelines.errors import ArgumentError, MissingPart
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.back_end_world import ReviewDesk, ask_two
from workbench_pipelines_tests.page_world import SECRET, plant
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import one_line, planted_at

BOB, ANN, STRANGER = "bob", "ann@example.org", "mallory@example.org"
COUNTS = ("added", "updated", "unchanged", "removed", "kept")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with planted_at(tmp_path_factory, "waiting", plant) as project:
        documents = project.folder / "sheets/all.yaml"
        documents.write_text(documents.read_text().replace("  teams:", f"  emails: {{ann: {ANN.upper()}}}\n  teams:"))
        yield project


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedLabelStudio]:
    with ScriptedLabelStudio([BOB, ANN, STRANGER]) as scripted:
        monkeypatch.setenv("LABEL_STUDIO_URL", scripted.url)
        monkeypatch.setenv("LABEL_STUDIO_TOKEN", scripted.token)
        yield scripted


@pytest.fixture
def desk(planted: Project, studio: ScriptedLabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewDesk:
    return ReviewDesk(planted, tmp_path, monkeypatch)


def push(desk: ReviewDesk, name: str = "drafted", *more: str) -> list[int]:
    ran = desk.project("review", "push", name, "--to", "label-studio", "--json", *more)
    assert ran.code == 0, ran.err
    return [ran.json[one] for one in COUNTS]


def pull(desk: ReviewDesk) -> Any:
    ran = desk.project("review", "pull", "--json")
    assert ran.code == (1 if ran.json["refused"] else 0)
    return ran.json


def team(value: str) -> dict[str, Any]:
    return {"from_name": "answer.team", "to_name": "item", "type": "choices", "value": {"choices": [value]}}


def words(name: str, text: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "item", "type": "textarea", "value": {"text": [text]}}


def verdict(value: str) -> dict[str, Any]:
    return {"from_name": "verdict", "to_name": "item", "type": "choices", "value": {"choices": [value]}}


def test_tasks_that_are_pushed_twice_are_there_once_with_their_proposals(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    assert push(desk) == [12, 0, 0, 0, 0]
    assert push(desk) == [0, 0, 12, 0, 0]
    (project,) = studio.projects.values()
    assert project["title"] == "drafted · team"
    assert len(studio.tasks) == len({one["data"]["workbench_task"] for one in studio.tasks.values()}) == 12
    first = next(iter(studio.tasks.values()))
    assert first["predictions"][0]["result"] == [team("other")]
    assert first["predictions"][0]["model_version"] == "scripted"
    assert first["data"]["prompt"].startswith("Which team?")
    assert SECRET not in json.dumps(list(studio.tasks.values()))


def test_what_was_said_comes_back_once_as_decisions(desk: ReviewDesk, studio: ScriptedLabelStudio) -> None:
    push(desk)
    a, b, c, d, e, f = list(studio.tasks)[:6]
    studio.annotate(a, studio.tasks[a]["predictions"][0]["result"], by=BOB)
    studio.annotate(b, [team("billing"), words("notes", "says invoice")], by=ANN)
    studio.annotate(c, [verdict("reject"), words("notes", "no ticket")], by=ANN)
    studio.annotate(d, [team("other"), verdict("flag"), words("notes", "ask legal")], by=BOB)
    studio.annotate(e, [], by=BOB, skipped=True)
    studio.annotate(f, [team("other")], by=STRANGER)
    said = pull(desk)
    assert (said["decisions"], said["undecided"]) == (4, 7)
    assert len(said["refused"]) == 1
    assert f"task {f} annotation" in said["refused"][0]
    assert "mallory@example.org may not approve" in said["refused"][0]
    rows = {row["action"]: row for row in desk.project.workbench.decisions().to_dicts()}
    assert {action: row["by"] for action, row in rows.items()} == {
        "approve": "bob",
        "edit": "ann",
        "reject": "ann",
        "flag": "bob",
    }
    assert (rows["edit"]["label_data"], rows["edit"]["notes"]) == ('{"team":"billing"}', "says invoice")
    assert (rows["reject"]["reason"], rows["flag"]["reason"]) == ("no ticket", "ask legal")
    assert {tuple(row["seen_columns"]) for row in rows.values()} == {("subject",)}
    for action, task in (("approve", a), ("edit", b)):
        updated = studio.tasks[task]["annotations"][0]["updated_at"]
        assert rows[action]["at"] == dt.datetime.fromisoformat(updated)
    again = pull(desk)
    assert (again["decisions"], again["repeated"]) == (0, 4)
    assert desk.project.workbench.lake.read("records", "review_refusals").height == 1
    # What was decided waits for nobody; annotated tasks stay where they are.
    assert push(desk) == [0, 0, 8, 0, 4]


def test_a_changed_annotation_is_the_later_word_whenever_it_comes(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    push(desk)
    task = next(iter(studio.tasks))
    annotation = studio.annotate(task, [team("billing")], by=BOB)
    assert pull(desk)["decisions"] == 1
    annotation["result"] = [team("access")]
    annotation["updated_at"] = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)).isoformat()
    assert pull(desk)["decisions"] == 1
    annotation["result"], annotation["updated_at"] = [team("billing")], annotation["created_at"]
    assert pull(desk)["decisions"] == 0
    last = desk.project.workbench.decisions().sort("at")
    assert last["label_data"].to_list() == ['{"team":"billing"}', '{"team":"access"}']


def test_what_waits_no_more_goes_and_a_new_proposal_replaces_the_old_one_unless_somebody_worked_on_it(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    push(desk)
    one, other, drafted, *_ = studio.tasks
    # As the proposals of an earlier run would stand there.
    for task in (one, other, drafted):
        data = studio.tasks[task]["data"]
        studio.tasks[task]["data"] = data | {
            "prompt": "older",
            "workbench": data["workbench"].replace("other", "elder"),
        }
    studio.annotate(other, [team("other")], by=BOB)
    studio.tasks[drafted]["drafts"] = [{"id": 1}]
    assert push(desk) == [2, 1, 9, 0, 0]
    assert studio.tasks[one]["data"]["prompt"].startswith("Which team?")
    assert [said["result"] for said in studio.tasks[one]["predictions"]] == [[team("other")]]
    assert studio.tasks[other]["data"]["prompt"] == "older"
    # Somebody decides on the page, and the tasks of those pairs go.
    file = desk.export("rest.jsonl", "--limit", "5")
    rows = [json.loads(line) | {"decision": "approve"} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert desk.take(file).code == 0
    added, updated, unchanged, removed, _ = push(desk)
    assert (added, updated, unchanged) == (0, 0, 7)
    assert removed >= 3
    assert other in studio.tasks
    assert drafted in studio.tasks


def test_an_import_whose_answer_was_lost_is_found_the_next_time(desk: ReviewDesk, studio: ScriptedLabelStudio) -> None:
    assert push(desk, "drafted", "--limit", "5") == [5, 0, 0, 0, 0]
    studio.fails = [500]
    ran = desk.project("review", "push", "drafted")
    assert (ran.code, "refused GET /api/projects (500)" in one_line(ran)) == (3, True)
    assert push(desk) == [7, 0, 5, 0, 0]
    # Two pushes that met elsewhere: the second copy goes, unless somebody worked on it.
    twin = max(studio.tasks) + 1
    studio.tasks[twin] = {**next(iter(studio.tasks.values())), "id": twin, "annotations": []}
    assert push(desk) == [0, 0, 12, 1, 0]


def test_another_schema_is_another_project_and_what_was_said_before_is_still_heard(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    push(desk)
    studio.annotate(next(iter(studio.tasks)), [team("billing")], by=BOB)
    (project,) = studio.projects.values()
    project["description"] = project["description"][:-9] + "00000000]"
    assert push(desk)[0] == 12
    assert len(studio.projects) == 2
    assert len(studio.tasks) == 13
    assert pull(desk)["decisions"] == 1


def test_what_is_restricted_goes_nowhere_unless_it_is_for_somebody_who_may_see_it(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    ran = desk.project("review", "push", "closed")
    assert one_line(ran) == "12 left out: they show what is restricted, and it stays here without --for"
    ran = desk.project("review", "push", "closed", "--for", "bob")
    assert one_line(ran) == "12 left out: they show what is restricted, and bob may not see it"
    assert studio.tasks == {}
    assert push(desk, "closed", "--for", "eve")[0] == 12
    assert SECRET in json.dumps(list(studio.tasks.values()))
    assert push(desk, "closed") == [0, 0, 0, 12, 0]


def test_pictures_of_items_are_drawn_on(desk: ReviewDesk, studio: ScriptedLabelStudio) -> None:
    assert push(desk, "pictures", "--task", "cars")[0] == 2
    (project,) = studio.projects.values()
    assert project["title"] == "items of pictures · cars"
    assert '<RectangleLabels name="answer.cars" toName="image">' in project["label_config"]
    task = next(iter(studio.tasks))
    assert studio.tasks[task]["data"]["image"].startswith("data:image/png;base64,")
    place = {"x": 5, "y": 10, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["van"]}
    box = {
        "from_name": "answer.cars",
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 200,
        "value": place,
    }
    studio.annotate(task, [box], by=ANN)
    assert pull(desk)["decisions"] == 1
    ((_, action, answer, by),) = desk.ledger()
    assert (action, by) == ("label", "ann")
    assert json.loads(answer) == {"cars": [{"label": "van", "x": 10, "y": 20, "width": 50, "height": 100}]}


def test_what_is_no_task_of_ours_is_refused_and_the_rest_is_taken(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    push(desk)
    a, b, c, d = list(studio.tasks)[:4]
    for task in (a, b, c, d):
        studio.annotate(task, [team("billing")], by=BOB)
    studio.tasks[a]["data"]["workbench"] = "{}"
    studio.tasks[b]["annotations"][0]["result"] = [team("nobody")]
    studio.tasks[c]["annotations"][0]["completed_by"] = 99
    said = pull(desk)
    assert said["decisions"] == 1
    reasons = [line.partition(": ")[2] for line in said["refused"]]
    assert reasons == [
        "its task was not made by `review push`, or was changed; push it again",
        "team: says what is none of its choices",
        "nobody knows who said it",
    ]


def test_without_label_studio_there_is_one_line_and_no_token_in_it(
    desk: ReviewDesk, studio: ScriptedLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef0123"
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", secret)
    ran = desk.project("review", "pull")
    assert (ran.code, "refused the token (401); set LABEL_STUDIO_TOKEN" in one_line(ran)) == (3, True)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    for arguments in (("pull",), ("push", "drafted")):
        ran = desk.project("review", *arguments)
        assert (ran.code, "does not answer (ConnectError); start it with `make label-studio`" in one_line(ran)) == (
            3,
            True,
        )
        assert secret not in ran.err
    assert secret not in repr(settings_from({**desk.project.environ, "LABEL_STUDIO_TOKEN": secret}))
    monkeypatch.delenv("LABEL_STUDIO_TOKEN")
    ran = desk.project("review", "pull")
    assert (ran.code, "LABEL_STUDIO_TOKEN is not set" in one_line(ran)) == (3, True)


@pytest.mark.parametrize("url", ["label studio", "ftp://x", "http://studio.example.org", "http://a:b@127.0.0.1"])
def test_a_token_goes_to_no_odd_address(url: str) -> None:
    with pytest.raises(ArgumentError, match="LABEL_STUDIO_URL"):
        LabelStudio(url, "token")


def test_a_server_that_is_something_else_is_one_line(studio: ScriptedLabelStudio) -> None:
    with LabelStudio(f"{studio.url}/nowhere", studio.token) as server, pytest.raises(MissingPart, match="refused GET"):
        list(server.projects())


def test_the_sensor_takes_in_what_was_said_and_says_why_where_it_can_not(
    desk: ReviewDesk, studio: ScriptedLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench_pipelines.defs.label.sensors import poll_label_studio, take_reviews

    push(desk)
    studio.annotate(next(iter(studio.tasks)), [team("billing")], by=BOB)
    environ = {**desk.project.environ, "LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_TOKEN": studio.token}

    def look(sensor: Any, environ: dict[str, str]) -> dg.SensorResult:
        with dg.DagsterInstance.ephemeral() as instance:
            workbench = Workbench(settings_from(environ))
            context = dg.build_sensor_context(instance, resources={"workbench": workbench})
            result = sensor(context)
            assert isinstance(result, dg.SensorResult)
            return result

    assert "1 decisions" in str(look(poll_label_studio, environ).skip_reason)
    assert "0 decisions" in str(look(poll_label_studio, environ).skip_reason)
    assert desk.ledger()[0][1:] == ("edit", '{"team":"billing"}', "bob")
    assert poll_label_studio.default_status == dg.DefaultSensorStatus.STOPPED
    assert "is not set" in str(look(poll_label_studio, desk.project.environ).skip_reason)
    (event,) = look(take_reviews, environ).asset_events
    assert event.partition == "tickets"


def test_what_several_people_answer_for_on_their_own_is_not_shown_where_each_sees_the_others(
    desk: ReviewDesk, studio: ScriptedLabelStudio
) -> None:
    push(desk)
    ask_two(desk)
    ran = desk.project("review", "push", "drafted")
    assert one_line(ran).startswith("12 left out: several people answer for them on their own")
    assert studio.tasks == {}
    assert push(desk, "tickets", "--task", "team")[0] == 0
