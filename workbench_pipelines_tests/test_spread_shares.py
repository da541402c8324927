"""Which shard asks what, how much each of them may ask, and what is said where they can not be asked at all."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.settings import settings_from
from workbench_pipelines.spreading import Shard, Work, shard_of
from workbench_pipelines_tests.batch_world import make, plant
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.request_world import make_request
from workbench_pipelines_tests.ticket_world import provider

__all__ = ["provider"]


def work(tmp_path: Path, **how: object) -> Work:
    settings = settings_from({"WORKBENCH_PROJECT": str(tmp_path)})
    return Work(settings, settings.lake, (), GenerationSpec.model_validate({"spread": "ray", **how}), {}, "run", False)


def test_the_same_questions_belong_to_one_shard_and_every_shard_gets_its_part() -> None:
    requests = [make_request(str(number)) for number in range(200)]
    parts = [shard_of(one.request_hash, 4) for one in requests]
    assert parts == [shard_of(make_request(str(number)).request_hash, 4) for number in range(200)]
    assert min(parts.count(number) for number in range(4)) > 25


@given(shards=st.integers(1, 64), more=st.integers(0, 200), rate=st.none() | st.floats(1, 1e6))
def test_the_shares_of_all_shards_are_what_the_training_sheet_says(shards: int, more: int, rate: float | None) -> None:
    at_once = shards + more
    whole = work(Path("/"), shards=shards, at_once=at_once, requests_per_minute=rate)
    shares = [whole.share(number) for number in range(shards)]
    assert sum(one.at_once for one in shares) == at_once
    assert min(one.at_once for one in shares) >= 1
    rates = [one.requests_per_minute for one in shares if one.requests_per_minute is not None]
    assert (rates == []) == (rate is None)
    assert rate is None or sum(rates) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("generation", "says"),
    [
        ({"mode": "batch", "spread": "ray"}, "`spread` goes with mode calls; a batch is asked by its provider"),
        ({"spread": "ray", "shards": 20}, "20 `shards` share 16 calls `at_once`; a shard needs one at least"),
    ],
)
def test_a_spread_that_can_not_be_is_an_error_of_the_file(
    project: Project, generation: dict[str, object], says: str
) -> None:
    plant(project, generation=generation)
    ran = project("validate")
    assert (ran.code, says in ran.err) == (2, True)


def test_without_the_extra_one_line_says_what_to_install(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    plant(project, generation={"spread": "ray"})
    ran = project("run", "drafted")
    assert (ran.code, provider.calls) == (3, 0)
    assert "needs the package ray; install it with `pip install -e '.[ray]'`" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    plant(project, generation={})
    assert make(project.workbench).calls == 6


def test_a_cluster_that_does_not_answer_is_one_line(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WORKBENCH_RAY_ADDRESS", f"127.0.0.1:{nobody.getsockname()[1]}")
        plant(project, generation={"spread": "ray"})
        ran = project("run", "drafted")
    assert (ran.code, provider.calls) == (3, 0)
    assert "the Ray cluster at WORKBENCH_RAY_ADDRESS does not answer: ConnectionRefusedError" in ran.err


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "auto", "head:port"])
def test_an_address_that_is_none_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("WORKBENCH_RAY_ADDRESS", address)
    ran = project("validate")
    assert (ran.code, "write it like 10.0.0.5:6379" in ran.err) == (2, True)


def test_a_shard_on_a_machine_that_sees_another_folder_or_no_locks_asks_nothing(tmp_path: Path) -> None:
    unseen = Shard(0).ask(work(tmp_path), None, [])  # type: ignore[arg-type]
    assert unseen.problem is not None
    assert unseen.problem[0] == "MissingPart"
    assert "does not see the .workbench folder of this project" in unseen.problem[1]
    (tmp_path / ".workbench/spread").mkdir(parents=True)
    (tmp_path / ".workbench/spread/run").touch()
    unlocked = Shard(0).ask(work(tmp_path), None, [])  # type: ignore[arg-type]
    assert unlocked.problem is not None
    assert "sees no locks in the .workbench folder" in unlocked.problem[1]
