"""The door to Ray: a cluster that is there already, or one on this machine for as long as it is needed.

A cluster of our own listens on loopback only, behind a token of its own, shows no dashboard, reports nothing to anybody and
leaves no files behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench_pipelines.clients.living_processes import ended, living
from workbench_pipelines.errors import MissingPart

# What is kept in a cluster's memory are a few thousand questions and their answers; Ray takes a third of the machine's else.
_MEMORY = 256 * 2**20
REACHED_WITHIN_S = 10.0
_FOLDER = "workbench-ray-"
# Ray listens everywhere on Linux; with this it keeps to loopback, as it does on other systems.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_OWN = {
    _LOOPBACK: "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


class Gone(MissingPart):
    """A process of the cluster that does not answer any more."""


@dataclass(frozen=True)
class Remote:
    """An object that lives in a process of the cluster. It can be handed to another one."""

    handle: Any

    def begin(self, method: str, *arguments: Any) -> Any:
        """Begins a call; what it returns is fetched from the cluster."""
        return getattr(self.handle, method).remote(*arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls and waits. Raises Gone."""
        import ray

        try:
            return ray.get(self.begin(method, *arguments))
        except ray.exceptions.RayActorError:
            raise Gone("the run that these questions belong to has ended") from None


class Cluster:
    """Where objects can be put into processes of their own."""

    def __init__(self) -> None:
        import ray

        self._ray = ray

    @property
    def cpus(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def here(self, kind: type, *arguments: Any) -> Remote:
        """An object in a process of this machine, which takes no processor of its own."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return Remote(self._ray.remote(kind).options(num_cpus=0, scheduling_strategy=node).remote(*arguments))

    def anywhere(self, kind: type, *arguments: Any, restarts: int) -> Remote:
        """An object in a process of any machine; where the process is killed it is made again, and its calls with it."""
        options = {
            "num_cpus": 1,
            "scheduling_strategy": "SPREAD",
            "max_restarts": restarts,
            "max_task_retries": restarts,
        }
        return Remote(self._ray.remote(kind).options(**options).remote(*arguments))

    def ready(self, calls: Sequence[Any], timeout_s: float) -> list[Any]:
        """Those of these calls that came to their end, as soon as there is one."""
        if not calls:
            return []
        return list(self._ray.wait(list(calls), timeout=timeout_s)[0])

    def result(self, call: Any) -> Any:
        """What a call returned. Raises Gone where its process is killed again and again."""
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayActorError:
            raise Gone("a process of the cluster was killed again and again; what was answered is kept") from None
        except self._ray.exceptions.RayTaskError as error:
            # Its text holds the whole traceback, which can quote a row.
            raise RuntimeError(f"{type(error.cause).__name__} in a process of the cluster") from None

    def end(self, one: Remote) -> None:
        self._ray.kill(one.handle, no_restart=True)


@contextmanager
def open_cluster(address: str | None, workers: int) -> Iterator[Cluster]:
    """The cluster this process is connected to, the one at an address, or one on this machine for so many workers.

    Raises:
        MissingPart: where Ray is not installed, or the cluster does not answer.
    """
    own = address is None
    if address is not None:
        _reach(address)
    known = sys.modules.get("ray")
    if known is not None and known.is_initialized():
        yield Cluster()
        return
    if own:
        _keep_to_loopback(imported=known is not None)
    try:
        import ray
    except ImportError:
        raise MissingPart(
            "generation.spread: ray needs the package ray; install it with `pip install -e '.[ray]'`"
        ) from None
    with _files() if own else nullcontext() as files:
        try:
            with _signals_kept():
                _connect(ray, address, workers, files)
            yield Cluster()
        finally:
            ray.shutdown()


@contextmanager
def _files() -> Iterator[str]:
    """A folder for what a cluster of our own writes; its sockets want a short path, so it lies among temporary files."""
    remove_abandoned_files()
    folder = tempfile.mkdtemp(prefix=_FOLDER)
    try:
        with living(Path(folder) / "owner"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned_files() -> None:
    """Removes what clusters left whose runs were killed."""
    for owner in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/owner/*"):
        if ended(owner.parent, owner.name):
            shutil.rmtree(owner.parent.parent, ignore_errors=True)


def _keep_to_loopback(*, imported: bool) -> None:
    """Sets what Ray reads when it is imported. Raises MissingPart where that was too early."""
    if imported and os.environ.get(_LOOPBACK) != "0":
        raise MissingPart(
            f"generation.spread: ray: a cluster on this machine would listen on the network, since something imported Ray "
            f"before; set {_LOOPBACK}=0, or name a cluster by WORKBENCH_RAY_ADDRESS"
        )
    os.environ.update(_OWN)
    if not imported:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _reach(address: str) -> None:
    """Raises MissingPart where nobody answers there; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN_S).close()
    except OSError as error:
        raise MissingPart(f"the Ray cluster at WORKBENCH_RAY_ADDRESS does not answer: {type(error).__name__}") from None


def _connect(ray: Any, address: str | None, workers: int, files: str | None) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=_MEMORY,
            _temp_dir=files,
            **quiet,
        )
    except Exception as error:
        # What Ray raises here can be anything; its text holds addresses and paths.
        where = "on this machine" if address is None else "at WORKBENCH_RAY_ADDRESS"
        raise MissingPart(f"the Ray cluster {where} does not answer: {type(error).__name__}") from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes the signal by which a run is ended; whoever runs us has plans for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
