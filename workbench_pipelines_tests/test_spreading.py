"""Questions that are spread over a Ray cluster make the rows that one process makes, within one budget, and are paid once."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import spreading
from workbench_pipelines.clients.ray_cluster import open_cluster, remove_abandoned_files
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.errors import BudgetSpent, MissingPart
from workbench_pipelines.generation import Drafts
from workbench_pipelines.spreading import PIECE
from workbench_pipelines_tests.batch_world import make, plant, started
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import project_at, provider, put, tickets

__all__ = ["provider"]

SPREAD: dict[str, Any] = {"spread": "ray", "shards": 2}
pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")


def rows(drafts: Drafts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was made, without when the model answered."""
    return drafts.frame.drop("answered_at"), drafts.refusals


def awkward(body: Mapping[str, Any]) -> Reply | str:
    """Answers of every kind, by what is asked."""
    subject = body["messages"][0]["content"]
    if subject.endswith("3"):
        return '{"team": "billing"}' if len(body["messages"]) > 1 else '{"team": "sales"}'
    if subject.endswith("5"):
        return Reply('{"team": "acc', finish_reason="length")
    return Reply(status=400, code="content_filter") if subject.endswith("7") else '{"team": "other"}'


def shard_processes() -> list[int]:
    """The processes of this machine that ask as shards."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes().startswith(b"ray::Shard.ask"):
                found.append(int(entry.parent.name))
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster on loopback for all of these: its processes take the key from its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "test")
        with open_cluster(None, 2):
            yield


@pytest.fixture
def spread(project: Project, provider: ScriptedProvider, cluster: None) -> Project:
    return project


def made_by_one(folder: Path, count: int) -> Drafts:
    with project_at(folder) as project:
        plant(project, count, generation={})
        return make(project.workbench)


@pytest.mark.parametrize("piece", [PIECE, 7])
def test_shards_make_the_rows_that_one_process_makes_with_the_same_calls(
    spread: Project, provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    provider.answer_by(awkward)
    monkeypatch.setattr(spreading, "PIECE", piece)
    # Every question is asked by three items.
    thrice = tickets(60).with_columns(subject=pl.Series([f"Invoice number {number % 20}" for number in range(60)]))
    with project_at(tmp_path / "alone") as project:
        plant(project, 60, generation={})
        put(project, thrice)
        alone = make(project.workbench)
        uses = project.table("records", "request_uses").unique().sort(pl.all())
    calls = provider.calls
    plant(spread, 60, generation=SPREAD)
    put(spread, thrice)
    said: list[str] = []
    workbench = spread.workbench
    drafts = make(workbench, say=said.append)
    for by_one, by_shards in zip(rows(alone), rows(drafts), strict=True):
        assert by_shards.equals(by_one)
    assert provider.calls - calls == drafts.calls == workbench.llm_calls
    # What has no usable answer is asked again for an item of a later piece, as one process does from chunk to chunk.
    assert drafts.calls == calls or piece == 7
    assert said[-1] == "60 of 60 answered, by 2 shards"
    assert spread.table("records", "requests")["request_hash"].n_unique() == 20
    assert spread.table("records", "request_uses").unique().sort(pl.all()).equals(uses)
    assert [file.name for file in workbench.store.log_folder.glob("*.jsonl")] == []


def test_another_run_finds_all_that_shards_have_answered(spread: Project, provider: ScriptedProvider) -> None:
    plant(spread, 20, generation=SPREAD)
    ran = spread("run", "drafted", "--json").json
    assert (ran["llm_calls"], ran["store_hits"], provider.calls) == (20, 0, 20)
    assert ran["waiting"] == [["drafted", 20, ["a reviewer"]]]
    plant(spread, 20, generation={})
    assert (make(spread.workbench).store_hits, provider.calls) == (20, 20)
    plant(spread, 20, generation=SPREAD)
    assert (make(spread.workbench).store_hits, provider.calls) == (20, 20)


def test_a_shard_whose_process_is_killed_goes_on_and_pays_again_for_nothing_but_what_was_in_flight(
    spread: Project, provider: ScriptedProvider, tmp_path: Path
) -> None:
    killed: list[int] = []
    alone = made_by_one(tmp_path / "alone", 60)
    before = provider.calls

    def answer(body: Mapping[str, Any]) -> Reply:
        if provider.calls - before == 25 and not killed:
            killed.append(shard_processes()[0])
            os.kill(killed[0], signal.SIGKILL)
        return Reply('{"team": "other"}', latency_s=0.05)

    provider.answer_by(answer)
    plant(spread, 60, generation={**SPREAD, "at_once": 6})
    drafts = make(spread.workbench)
    assert len(killed) == 1
    assert rows(drafts)[0].equals(rows(alone)[0])
    assert 60 <= provider.calls - before <= 60 + 3
    assert spread.table("records", "requests")["request_hash"].n_unique() == 60


def test_all_shards_together_stay_within_one_budget_but_for_the_calls_in_flight(
    spread: Project, provider: ScriptedProvider
) -> None:
    provider.answer_by(lambda body: Reply('{"team": "other"}', latency_s=0.05))
    plant(spread, 4, model="openai/gpt-4o-mini", generation={})
    price = max(make(spread.workbench).frame["cost_usd"])
    before = provider.calls
    generation = {**SPREAD, "at_once": 6, "budget_usd": price * 20}
    plant(spread, 80, model="openai/gpt-4o-mini", generation=generation)
    workbench = spread.workbench
    with pytest.raises(
        BudgetSpent, match=r"USD are spent of a budget of .* raise .*spec.generation.budget_usd to go on"
    ):
        make(workbench)
    calls = provider.calls - before
    assert 20 <= calls <= 20 + 6
    assert spread.table("records", "requests").height == 4 + calls
    assert workbench.budget.spent_usd == pytest.approx(price * calls, rel=0.05)


def test_a_refused_key_is_one_line_and_one_call_a_shard(spread: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: Reply(status=401))
    plant(spread, 20, generation=SPREAD)
    ran = spread("run", "drafted")
    assert (ran.code, provider.calls <= 2) == (3, True)
    assert "the provider refused the key (401); check OPENAI_API_KEY" in ran.err
    assert "Traceback" not in ran.err + ran.out


def test_a_run_that_is_stopped_keeps_what_its_shards_have_answered(spread: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: Reply('{"team": "other"}', latency_s=0.05))
    plant(spread, 80, generation={**SPREAD, "at_once": 4})
    workbench = spread.workbench

    def stop(done: int, total: int, what: str) -> None:
        if done >= 10:
            raise KeyboardInterrupt

    workbench.on_progress = stop
    with pytest.raises(KeyboardInterrupt):
        make(workbench)
    calls = provider.calls
    assert 10 <= calls < 80
    provider.answer_by(lambda body: '{"team": "other"}')
    plant(spread, 80, generation={})
    assert (make(spread.workbench).store_hits, provider.calls) == (calls, 80)


def test_a_run_that_is_killed_takes_its_shards_with_it_and_loses_only_what_was_in_flight(
    spread: Project, provider: ScriptedProvider
) -> None:
    plant(spread, 80, generation={**SPREAD, "at_once": 4})
    runs: list[subprocess.Popen[bytes]] = []

    def answer(body: Mapping[str, Any]) -> Reply:
        if provider.calls == 25:
            os.kill(runs[0].pid, signal.SIGKILL)
        return Reply('{"team": "other"}', latency_s=0.5)

    provider.answer_by(answer)
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith("RAY_")]:
            patch.delenv(name)
        runs.append(started(spread))
        assert runs[0].wait(240) == -signal.SIGKILL
    while shard_processes():
        time.sleep(0.1)
    calls = provider.calls
    plant(spread, 80, generation={})
    found = make(spread.workbench).store_hits
    assert calls - 4 <= found <= calls < 80
    assert provider.calls == calls + 80 - found
    left = set(Path(tempfile.gettempdir()).glob("workbench-ray-*"))
    remove_abandoned_files()
    assert len(left - set(Path(tempfile.gettempdir()).glob("workbench-ray-*"))) == 1


def test_more_shards_than_processors_are_refused(spread: Project, provider: ScriptedProvider) -> None:
    plant(spread, 4, generation={**SPREAD, "shards": 3})
    with pytest.raises(MissingPart, match="3 shards need a processor each, the cluster has 2"):
        make(spread.workbench)
    assert provider.calls == 0


OWN = """
import glob, sys
if sys.argv[1] == "imported before":
    import ray
from workbench_pipelines.clients.ray_cluster import open_cluster
with open_cluster(None, 1):
    import ray
    files = ray._private.worker._global_node.get_temp_dir_path()
    print(ray.util.get_node_ip_address(), len(glob.glob(files)))
print(glob.glob(files))
"""


@pytest.mark.parametrize(
    ("ray_was", "prints", "says"),
    [
        ("not imported", "127.0.0.1 1\n[]\n", ""),
        ("imported before", "", "a cluster on this machine would listen on the network"),
    ],
)
def test_a_cluster_of_our_own_listens_on_loopback_only_and_leaves_nothing(ray_was: str, prints: str, says: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", OWN, ray_was], capture_output=True, text=True, env=environment)
    assert (done.stdout, says in done.stderr) == (prints, True)
