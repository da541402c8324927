"""Every answer is paid once: found again, kept through a kill, committed once, and never lost to another process."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.progress import Tally
from workbench_pipelines.requests import Refusal, Request
from workbench_pipelines_tests.request_world import NOON, YES, FakeLLM, answer, lookup, make_completion, make_request


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def store(tmp_path: Path, lake: Lake) -> RequestStore:
    return RequestStore(tmp_path / "requests", lake)


def logs(store: RequestStore) -> list[Path]:
    return sorted(store.log_folder.glob("*.jsonl"))


def test_an_answer_is_found_before_and_after_it_is_committed(store: RequestStore) -> None:
    request = make_request()
    paid = make_completion(request)
    store.put(request, paid)
    before = lookup(store, [request.request_hash])[request.request_hash]
    assert (store.commit(), logs(store)) == (1, [])
    after = lookup(store, [request.request_hash])[request.request_hash]
    assert before == after
    assert (after.text, after.answered_at, after.cost_usd, after.calls) == (YES, NOON, 0.5, 0)


def test_an_unknown_cost_stays_unknown(store: RequestStore) -> None:
    request = make_request()
    store.put(request, make_completion(request, cost_usd=None))
    store.commit()
    assert lookup(store, [request.request_hash])[request.request_hash].cost_usd is None


def test_a_bad_answer_is_kept_and_not_found_until_the_rule_changes(store: RequestStore, lake: Lake) -> None:
    request = make_request()
    store.put(request, make_completion(request, "maybe"))
    store.commit()
    assert lookup(store, [request.request_hash]) == {}
    assert lake.read("records", "requests")["answer"].to_list() == ["maybe"]
    assert [one.text for one in store.answers([request.request_hash])[request.request_hash]] == ["maybe"]


def test_a_good_answer_after_a_bad_one_is_found(store: RequestStore) -> None:
    request = make_request()
    store.put(request, make_completion(request, "maybe"))
    store.commit()
    store.put(request, make_completion(request, answered_at=NOON + dt.timedelta(minutes=1)))
    store.commit()
    assert lookup(store, [request.request_hash])[request.request_hash].text == YES


def test_of_two_good_answers_the_first_stays_the_answer(store: RequestStore) -> None:
    request = make_request()
    store.put(request, make_completion(request, answered_at=NOON + dt.timedelta(minutes=1), model="late"))
    store.commit()
    store.put(request, make_completion(request, model="early"))
    assert lookup(store, [request.request_hash])[request.request_hash].model == "early"


def test_a_torn_last_line_is_passed_over(store: RequestStore) -> None:
    for item in "ab":
        store.put(make_request(item), make_completion(make_request(item)))
    (log,) = logs(store)
    data = log.read_bytes()
    for cut in (len(data) - 1, len(data) - 20, data.index(b"\n") + 5):
        log.write_bytes(data[:cut])
        hashes = [make_request(item).request_hash for item in "ab"]
        assert list(lookup(store, hashes)) == hashes[:1] or cut == len(data) - 1


def test_a_log_that_is_replayed_twice_adds_nothing(store: RequestStore, lake: Lake) -> None:
    store.put(make_request(), make_completion(make_request()))
    (log,) = logs(store)
    data = log.read_bytes()
    store.commit()
    (store.log_folder / "left-by-another.jsonl").write_bytes(data)
    assert store.commit() == 0
    assert (lake.read("records", "requests").height, logs(store)) == (1, [])


def test_the_log_of_a_living_process_is_read_and_left_alone(tmp_path: Path, store: RequestStore, lake: Lake) -> None:
    other = RequestStore(store.log_folder, lake)
    other.put(make_request(), make_completion(make_request()))
    assert store.commit() == 0
    assert len(logs(store)) == 1
    assert make_request().request_hash in lookup(store, [make_request().request_hash])
    assert other.commit() == 1


def test_uses_name_every_item_that_shares_an_answer(store: RequestStore, lake: Lake) -> None:
    same = [make_request("a", item_ref=ref, pair_id=ref) for ref in ("1", "2")]
    for _ in range(2):
        list(answer(store, FakeLLM(), same))
    uses = lake.read("records", "request_uses").sort("item_ref")
    assert uses["item_ref"].to_list() == ["1", "2"]
    assert uses["request_hash"].n_unique() == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines_tests.request_world import make_completion, make_request
store = RequestStore(Path(sys.argv[1]), Lake(sys.argv[2]))
for number in range(int(sys.argv[3])):
    store.put(make_request(str(number)), make_completion(make_request(str(number))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_paid_is_found_and_committed(store: RequestStore, lake: Lake) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.log_folder), lake.uri, "5"], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    llm = FakeLLM()
    answered = list(answer(store, llm, [make_request(str(n)) for n in range(7)]))
    assert (len(answered), len(llm.asked)) == (7, 2)
    assert (lake.read("records", "requests").height, logs(store)) == (7, [])


def test_a_second_run_asks_nothing(store: RequestStore) -> None:
    requests = [make_request(str(number)) for number in range(20)]
    first, second = FakeLLM(), FakeLLM()
    seen: list[Tally] = []
    list(answer(store, first, requests, 4, on_progress=seen.append))
    assert (len(first.asked), seen[-1].calls, seen[-1].done, seen[-1].cost_usd) == (20, 20, 20, 10.0)
    again = list(answer(store, second, requests, 4, on_progress=seen.append))
    assert (second.asked, seen[-1].store_hits, seen[-1].calls, seen[-1].cost_usd) == ([], 20, 0, 0.0)
    assert all(one.from_store for one in again)


def test_equal_requests_are_asked_once(store: RequestStore) -> None:
    llm = FakeLLM()
    requests = [make_request("a", item_ref=str(n), pair_id=str(n)) for n in range(9)]
    answered = list(answer(store, llm, requests, 4))
    assert len(llm.asked) == 1
    assert sorted(one.request.item_ref for one in answered) == [str(n) for n in range(9)]
    assert sum(not one.from_store for one in answered) == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_a_refusal_lets_the_others_go_on(store: RequestStore, workers: int) -> None:
    llm = FakeLLM(["yes?", Refusal("transient", "no answer", 3)])
    answered = list(answer(store, llm, [make_request(c) for c in "abcd"], workers))
    assert len(answered) == 4
    assert [one.outcome.reason for one in answered if isinstance(one.outcome, Refusal)] == ["transient"]
    assert len(lookup(store, [make_request(c).request_hash for c in "abcd"])) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_a_missing_key_stops_the_run_and_keeps_what_was_answered(store: RequestStore, lake: Lake, workers: int) -> None:
    llm = FakeLLM([YES, YES, MissingPart("no key")])
    with pytest.raises(MissingPart):
        list(answer(store, llm, [make_request(str(n)) for n in range(50)], workers))
    assert len(llm.asked) <= 2 + 3 * workers
    assert lake.read("records", "requests").height == len(llm.asked) - 1


def test_an_interrupt_keeps_every_answer_in_flight(store: RequestStore, lake: Lake) -> None:
    running, finish = threading.Event(), threading.Event()

    def said(request: Request) -> str:
        if request.item_ref != "a":
            running.set()
            finish.wait(5)
        return YES

    answers = answer(store, FakeLLM((), said), [make_request(c) for c in "abc"], 2)
    next(answers)
    assert running.wait(5)
    threading.Timer(0.2, finish.set).start()
    with pytest.raises(KeyboardInterrupt):
        answers.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert set(lake.read("records", "requests")["request_hash"]) >= {make_request(c).request_hash for c in "ab"}


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 12), workers=st.sampled_from([1, 3]))
def test_resuming_at_any_cut_pays_once(tmp_path_factory: pytest.TempPathFactory, cut: int, workers: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    store = RequestStore(folder / "requests", Lake(str(folder / "lake")))
    requests = [make_request(str(number)) for number in range(12)]
    llm = FakeLLM()
    answers = answer(store, llm, requests, workers)
    for _ in range(cut):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    answered = list(answer(store, llm, requests, workers))
    assert {one.request.item_ref for one in answered} == {request.item_ref for request in requests}
    assert len(llm.asked) == len({request.request_hash for request in llm.asked}) == 12


def test_a_forked_child_leaves_its_parents_log_alone(store: RequestStore) -> None:
    store.put(make_request("a"), make_completion(make_request("a")))
    child = os.fork()
    if child == 0:
        store.put(make_request("b"), make_completion(make_request("b")))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(logs(store)) == 2
    assert len(lookup(store, [make_request(c).request_hash for c in "ab"])) == 2
