"""The review page by its forms: who sees what, what is saved, and that nothing typed is lost."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.page_world import SECRET, Person, at_the_page, browser, copied, planted, served
from workbench_pipelines_tests.project_world import Project

__all__ = ["planted"]

START = "/queue/drafted/next"


@pytest.fixture
def workbench(planted: Project, tmp_path: Path) -> Workbench:
    return copied(planted, tmp_path / "project")


def decisions(workbench: Workbench) -> list[tuple[str, str, str | None, str]]:
    rows = workbench.decisions().sort("at")
    return rows.select("item_ref", "action", "label_data", "by").rows()


def test_without_a_token_there_is_nothing_to_see(workbench: Workbench) -> None:
    with served(workbench) as url, browser(url) as client:
        assert "Your token" in client.get("/pair/drafted/x").text
        assert client.post("/login", data={"token": "guess"}).status_code == 403
    assert ReviewTokens(workbench.settings.state).person_of("guess") is None


def test_a_new_token_ends_the_one_before_and_only_hashes_are_kept(workbench: Workbench) -> None:
    tokens = ReviewTokens(workbench.settings.state)
    first, second = tokens.issue("ann"), tokens.issue("ann")
    assert (tokens.person_of(first), tokens.person_of(second)) == (None, "ann")
    kept = workbench.settings.state / "review_tokens.json"
    assert second not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_no_other_site_gets_in_and_no_script_but_ours_runs(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        assert bob.client.get("/", headers={"host": "evil.example"}).status_code == 400
        bob.get(START)
        policy = bob.page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "<script>" not in bob.page.text
        assert "style=" not in bob.page.text
        assert "http://" not in bob.page.text.replace("http://www.w3.org", "")
        stranger = bob.client.post(str(bob.page.url), data={**bob.hidden(), "form_key": "x", "action": "approve"})
        assert stranger.status_code == 403
    assert decisions(workbench) == []


def test_the_start_shows_how_far_each_queue_is(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        text = bob.get("/")
        assert "0 / 12 done" in text
        bob.get(START)
        bob.send("approve")
        assert "1 / 12 done" in bob.get("/")
        assert "1 / 12" in bob.get(START)


def test_each_action_makes_its_decision_and_leads_to_the_next_pair(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        shown = []
        bob.get(START)
        for action, typed in [
            ("approve", {}),
            ("edit", {"label__team": '"billing"', "notes": "an invoice"}),
            ("reject", {"reason": "no ticket"}),
            ("flag", {"reason": "ask legal"}),
        ]:
            shown.append(bob.page.url.path)
            assert bob.send(action, **typed).status_code == 200
        assert len({*shown, bob.page.url.path}) == 5
    ledger = workbench.decisions().sort("at")
    assert ledger["action"].to_list() == ["approve", "edit", "reject", "flag"]
    assert ledger["label_data"].to_list() == [None, '{"team":"billing"}', None, None]
    assert ledger["notes"].to_list()[1] == "an invoice"
    assert ledger["reason"].to_list()[2:] == ["no ticket", "ask legal"]
    assert ledger["pair_id"].null_count() == 0
    assert ledger["seen_columns"].to_list()[0] == ["subject"]  # what the prompt binds, and the note is not shown to bob


def test_what_was_opened_counts_as_seen(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        bob.get(START)
        bob.send("approve", looked="1")
    assert workbench.decisions()["seen_columns"].to_list() == [["subject", "team", "ticket"]]


def test_a_reviewer_may_correct_and_not_approve(workbench: Workbench) -> None:
    with at_the_page(workbench, "ann") as (ann,):
        ann.get(START)
        assert 'id="approve"' not in ann.page.text
        assert ann.send("approve").status_code == 422
        assert "ann may not approve" in ann.page.text
        assert ann.send("edit", label__team='"access"').status_code == 200
        assert ann.get("/queue/drafted/next?after=x")
    assert [row[1:] for row in decisions(workbench)] == [("edit", '{"team":"access"}', "ann")]


def test_somebody_without_a_role_looks_and_decides_nothing(workbench: Workbench) -> None:
    with at_the_page(workbench, "mallory") as (mallory,):
        mallory.get(START)
        assert mallory.send("edit", label__team='"access"').status_code == 422
    assert decisions(workbench) == []


def test_undo_takes_the_last_own_decision_back_and_leads_there(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob", "eve") as (bob, eve):
        bob.get(START)
        first = bob.page.url.path
        bob.send("approve")
        eve.get(START)
        eve.send("reject")
        bob.undo()
        assert bob.page.url.path == first
        assert "taken back: approve" in bob.page.text
        assert "(taken back)" in bob.page.text
        bob.undo()
        assert "nothing of yours to take back" in bob.page.text
    assert [row[1] for row in decisions(workbench)] == ["approve", "reject", "restore"]


def test_of_two_who_open_one_item_the_second_loses_nothing_and_overwrites_nothing(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob", "eve") as (bob, eve):
        bob.get(START)
        path = bob.page.url.path
        eve.get(path)
        bob.send("edit", label__team='"billing"')
        refused = eve.send("edit", label__team='"access"', notes="typed for a long time")
        assert refused.status_code == 409
        assert "bob decided of this item" in eve.page.text
        assert "typed for a long time" in eve.page.text
        assert eve.hidden()["label.team"] == '"access"'
        assert [row[3] for row in decisions(workbench)] == ["bob"]
        assert eve.send("edit", label__team='"access"').status_code == 200  # having seen it, she may
    assert [row[3] for row in decisions(workbench)] == ["bob", "eve"]


def test_what_does_not_fit_is_refused_and_stays_in_the_form(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        bob.get(START)
        assert bob.send("edit", label__team='"nobody"', notes="mind the gap").status_code == 422
        assert "none of the allowed values" in bob.page.text
        assert "mind the gap" in bob.page.text
        assert bob.send("edit", label__team="").status_code == 422
        assert "is needed" in bob.page.text
        assert bob.send("approve", label__team='"billing"').status_code == 422
        assert "save it as an edit" in bob.page.text
        assert bob.send("delete").status_code == 422
        assert "Traceback" not in bob.page.text
    assert decisions(workbench) == []


def test_an_edited_input_travels_with_the_answer(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        bob.get(START)
        path = bob.page.url.path
        bob.send("edit", label__team='"billing"', input__subject="A new subject")
        bob.get(path)
        bob.send("edit", label__team='"access"')
    ledger = workbench.decisions().sort("at")
    assert ledger["inputs"].to_list() == ['{"subject":"A new subject"}', None]


def test_a_restricted_pair_is_there_and_its_values_are_not(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob", "eve") as (bob, eve):
        bob.get("/queue/closed")
        assert "restricted" in bob.page.text
        bob.get("/queue/closed/next")
        path = bob.page.url.path
        assert "not shown to you" in bob.page.text
        for part in (SECRET, "Log in number", "Invoice number", '"other"'):
            assert part not in bob.page.text
        forced = bob.client.post(path, data={"form_key": _key(bob), "action": "reject"})
        assert forced.status_code == 422
        bob.get(START)
        assert SECRET not in bob.page.text  # the open pair of the same Sheet shows everything but the note
        assert "note: not shown to you" in bob.page.text
        assert SECRET in eve.get(path)
        assert eve.send("approve").status_code == 200
        assert "Jane" not in bob.get(path)
    assert len(decisions(workbench)) == 1


def _key(person: Person) -> str:
    return person.page.text.partition('name="form_key" value="')[2].partition('"')[0]


def test_items_are_labeled_directly_before_there_is_any_pair(workbench: Workbench) -> None:
    with at_the_page(workbench, "ann") as (ann,):
        assert "Items to label directly" in ann.get("/")
        ann.get("/label/pictures/cars")
        assert "Two cars stand in the street." in ann.page.text  # the text of the PDF
        assert "0 / 2" in ann.page.text
        box = [{"label": "van", "x": 1, "y": 2, "width": 30, "height": 40}]
        ann.send("label", label__cars=json.dumps(box), label__clear="true")
        assert "1 / 2" in ann.page.text
        ann.send("label", label__cars="[]")
        assert "Every item has a label" in ann.page.text
    first, second = workbench.decisions().sort("at").to_dicts()
    assert (first["action"], first["item_ref"], first["pair_id"]) == ("label", "p1", None)
    assert json.loads(first["label_data"]) == {"cars": box, "clear": True}
    assert second["label_data"] == '{"cars":[]}'


def test_an_image_is_served_as_the_snapshot_saw_it(workbench: Workbench) -> None:
    with at_the_page(workbench, "ann") as (ann,):
        asked = "/image?sheet=pictures&item=p1&column=photo_image"
        found = ann.client.get(asked)
        assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
        assert ann.client.get("/image?sheet=pictures&item=p1&column=where").status_code == 404
        (workbench.settings.project / "sheets/files/street.png").write_bytes(b"\x89PNG\r\n\x1a\nother")
        assert ann.client.get(asked).status_code == 404


def test_a_derived_item_is_reviewed_as_any_other(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as [bob]:
        page = bob.get("/queue/asked_twice/next")
        assert "T-001#" in page
        assert "Invoice number 1" in page
        assert bob.send("edit", label__team='"billing"').status_code == 200
        (row,) = workbench.decisions().to_dicts()
        assert row["item_ref"].startswith("T-001#")
        assert row["label_data"] == '{"team":"billing"}'
        assert "1 / 2" in bob.get("/queue/asked_twice")


def test_a_pdf_is_served_to_the_page_itself_and_nothing_else_is(workbench: Workbench) -> None:
    with at_the_page(workbench, "ann") as [ann]:
        page = ann.get("/label/pictures/cars/item?ref=p1")
        asked = "/document?sheet=pictures&item=p1&column=paper_text"
        assert asked.replace("&", "&amp;") in page
        found = ann.client.get(asked)
        assert (found.status_code, found.headers["content-type"]) == (200, "application/pdf")
        assert found.content.startswith(b"%PDF-")
        assert "frame-ancestors 'self'" in found.headers["content-security-policy"]
        for column in ("photo_image", "where", "paper_path", ""):
            assert ann.client.get(f"/document?sheet=pictures&item=p1&column={column}").status_code == 404


def test_a_steward_restricts_a_label_and_lifts_that_with_a_reason(workbench: Workbench) -> None:
    with at_the_page(workbench, "stella", "bob") as (stella, bob):
        stella.get(START)
        path = stella.page.url.path
        stella.send("approve")
        stella.get(path)
        assert stella.send("restrict", prohibit="training", usage_reason="no consent").status_code == 200
        stella.get(path)
        assert stella.send("restore").status_code == 422
        assert stella.send("restore", usage_reason="consent came in").status_code == 200
        bob.get(path)
        assert bob.send("restrict", prohibit="training").status_code == 422
    assert [row[1] for row in decisions(workbench)] == ["approve", "restrict", "restore"]


def test_the_author_of_a_proposal_is_not_its_approver(planted: Project, workbench: Workbench) -> None:
    definitions = workbench.settings.project / "sheets/all.yaml"
    text = definitions.read_text()
    assert text.count("primary_table: data/tickets.csv") == 1
    definitions.write_text(
        text.replace(
            "  primary_table: data/tickets.csv", "  review: {two_persons: true}\n  primary_table: data/tickets.csv"
        )
    )
    with at_the_page(workbench, "bob", "eve") as (bob, eve):
        bob.get(START)
        path = bob.page.url.path
        bob.send("edit", label__team='"billing"')
        bob.get(path)
        assert "You proposed this answer yourself" in bob.page.text
        assert 'id="approve"' not in bob.page.text
        eve.get(path)
        assert "Proposed by bob" in eve.page.text
        assert "0 / 12" in eve.page.text
        eve.send("approve")
        assert "1 / 12" in eve.page.text


def test_a_stale_label_shows_what_changed(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        bob.get(START)
        path = bob.page.url.path
        item = bob.page.text.partition("<h1>")[2].partition("</h1>")[0]
        bob.send("approve")
        table = ("data", "sheet_snapshot", "tickets")
        snapshot = workbench.lake.read(*table)
        changed = pl.when(pl.col("item_ref") == item).then(pl.lit("Something else")).otherwise("subject")
        workbench.lake.replace_table(*table, frame=snapshot.with_columns(changed.alias("subject")))
        bob.get(path)
        assert "Changed since the label of bob" in bob.page.text
        assert "<ins>Something else</ins>" in bob.page.text
        assert f"<del>{snapshot.filter(pl.col('item_ref') == item)['subject'][0]}</del>" in bob.page.text


def test_what_another_back_end_delivers_is_taken_along(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        bob.get(START)
        bob.send("approve")
        said = {"sheet": "tickets", "item_ref": "T-011", "label_type": "team", "action": "label", "by": "bob"}
        said |= {"label_data": {"team": "access"}, "at": "2026-03-01T12:00:00Z"}
        receive(workbench, [said], "files")
        bob.send("approve")
    assert len(decisions(workbench)) == 3
    assert take_deliveries(workbench).decisions == 0


def test_an_unknown_page_says_so_in_a_line(workbench: Workbench) -> None:
    with at_the_page(workbench, "bob") as (bob,):
        for path in ("/pair/drafted/none", "/pair/none/none", "/nowhere", "/label/tickets/none", "/queue/none"):
            bob.get(path)
            assert bob.page.status_code in (404, 422), path
            assert "Traceback" not in bob.page.text
