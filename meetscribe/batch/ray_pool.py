"""Workers as actors of Ray, on this machine or on a cluster: the same work, done elsewhere.

An actor has one recording at a time and keeps its models for the next one. Ray decides where it
runs by the cores, memory and shares of a GPU that it asks for. No more recordings are handed out
than there are actors, so nothing queues up inside Ray. What an actor says comes back event by
event; one that is gone, with its node or without it, takes its recording with it and nothing else.

Nothing below ``meetscribe.batch`` knows of Ray, and nothing else here does.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meetscribe.batch.ray_worker import RayWorker
from meetscribe.batch.remote import is_url
from meetscribe.batch.tasks import Ended, Event, Lost, Moved, Task
from meetscribe.batch.wire import parse_event
from meetscribe.errors import ConfigError, DependencyError, ModelError
from meetscribe.files import remove_abandoned
from meetscribe.version import __version__

LOCAL = "local"
"""In place of an address: Ray on this machine, for as long as the batch runs."""

_STILLBORN = 3
"""So many actors that end before they were ready, one after the other: none will start."""
_WAITING_S = 1.0
"""A recording that waits for its actor says so this often: it does not hang."""
_LOOK_AGAIN_S = 5.0
"""How long the resources of a cluster are taken for what they were."""
_ANSWER_S = 10.0
_NODE_S = 45.0
"""Ray finds out so much later than of an actor that its node has gone (15 s without load)."""
_STORE_BYTES = 100_000_000
"""Of Ray's shared memory: what passes through it are lines."""
_PASSED_ON = "MEETSCRIBE_"
_LOW_MEMORY = "low on memory"
"""What Ray says of a worker that it has ended so that its node survives."""


@dataclass(eq=False)
class _Actor:
    """One actor, and what it has in hand.

    ``next`` is what is waited for: who it is at first, then the events of its task. ``error`` says
    that it has ended, while it is not known yet whether its node has.
    """

    handle: Any
    next: Any
    about: dict[str, Any] = field(default_factory=dict)
    task: Task | None = None
    reason: str = ""
    error: Exception | None = None
    told: float = field(default_factory=time.monotonic)


class RayPool:
    """Runs tasks in actors of Ray.

    Parameters
    ----------
    words : what ``Runner.of`` takes, for every worker
    address : ``local``, ``auto`` (the cluster this machine belongs to) or ``host:port``
    workers : how many at most; None is as many as the cluster has room for
    threads : cores of each
    num_gpus : GPUs of each; a half puts two workers on one
    memory : bytes of each, where Ray has several machines to choose from
    worker : the class that lives in an actor

    Raises
    ------
    DependencyError
        If Ray is not installed.
    ConfigError
        If no cluster answers at the address, or no node has room for a worker.
    """

    def __init__(
        self,
        words: Mapping[str, Any],
        *,
        address: str,
        workers: int | None,
        threads: int,
        num_gpus: float = 0.0,
        memory: int = 0,
        worker: type[RayWorker] = RayWorker,
    ) -> None:
        self._ray = _library()
        self.one_machine = address == LOCAL
        self._words = dict(words)
        self._workers = workers
        self._needs = {"CPU": float(threads), "GPU": num_gpus}
        if not self.one_machine:
            self._needs["memory"] = float(memory)
        self._actors: list[_Actor] = []
        self._made = self._stillborn = 0
        self._room, self._looked = 0, 0.0
        cores = threads * (workers or 1)
        self._connected = _connect(self._ray, address, cores=cores, num_gpus=num_gpus)
        self._kind = self._ray.remote(worker).options(
            num_cpus=threads,
            num_gpus=num_gpus,
            memory=int(self._needs.get("memory", 0)) or None,
            max_restarts=0,
            max_task_retries=0,
        )
        if not self.slots:
            self.close()
            raise ConfigError(
                f"--ray {address}: no node has room for a worker of {self._asked()}",
                hint="`ray status` says what the cluster has; --threads, --num-gpus and "
                "--memory-per-worker say what a worker needs",
            )

    @property
    def slots(self) -> int:
        """How many tasks may run at once; follows the cluster as nodes come and go."""
        now = time.monotonic()
        if not self._looked or now - self._looked > _LOOK_AGAIN_S:
            self._looked = now
            alive = (node for node in self._nodes() if node["Alive"])
            self._room = sum(_fits(node["Resources"], self._needs) for node in alive)
        return self._room if self._workers is None else min(self._workers, self._room)

    def submit(self, task: Task) -> None:
        """Give a task to an idle actor, or a new one."""
        idle = [one for one in self._actors if one.task is None and one.about and not one.error]
        if task.little_memory and self.one_machine:
            # others hold their models as long as they live
            for one in idle:
                self._end(one)
            idle = []
        actor = idle[0] if idle else self._start()
        actor.task = task
        if actor.about:
            self._begin(actor)

    def poll(self, timeout_s: float) -> list[Event]:
        """Give what happened, in order; wait so long for something to happen.

        Raises
        ------
        ModelError
            If actors end before they are ready, one after the other, or are of another version.
        """
        waiting = {id(one.next): one for one in self._actors if one.next is not None}
        things = [one.next for one in waiting.values()]
        ready: list[Any] = []
        if things:
            ready, _ = self._ray.wait(things, num_returns=1, timeout=timeout_s)
        else:
            time.sleep(timeout_s)
        if ready:
            ready, _ = self._ray.wait(things, num_returns=len(things), timeout=0)
        events = [self._heard(waiting[id(thing)]) for thing in ready]
        events += [self._mourned(one, one.error) for one in list(self._actors) if one.error]
        events += [self._patience(one) for one in self._actors]
        return [event for event in events if event is not None]

    def cancel(self, name: str, reason: str) -> None:
        """Kill the actor that has the task; its ``Lost`` comes with a later ``poll``."""
        for actor in self._actors:
            if actor.task is not None and actor.task.name == name and not actor.reason:
                actor.reason = reason
                self._ray.kill(actor.handle)

    def close(self) -> None:
        """End all actors, and Ray where it was started for this batch."""
        for actor in list(self._actors):
            self._end(actor)
        if self._connected:
            self._ray.shutdown()

    def _start(self) -> _Actor:
        self._made += 1
        label = f"worker {self._made}" + ("" if self.one_machine else " on {host}")
        told = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        handle = self._kind.remote(self._words, label, told, str(Path.cwd()))
        actor = _Actor(handle, handle.about.remote())
        self._actors.append(actor)
        return actor

    def _begin(self, actor: _Actor) -> None:
        assert actor.task is not None  # noqa: S101 - an actor begins what it was given
        method = actor.handle.run.options(num_returns="streaming")
        actor.next = method.remote(actor.task.to_json())

    def _heard(self, actor: _Actor) -> Event | None:
        try:
            if not actor.about:
                return self._ready(actor, self._ray.get(actor.next))
            event = parse_event(self._ray.get(next(actor.next)))
        except StopIteration:
            return self._buried(actor, "the worker came to no end")
        except self._ray.exceptions.RayError as error:
            actor.error, actor.next, actor.told = error, None, time.monotonic()
            return None
        if isinstance(event, Ended):
            actor.task = actor.next = None
        return event

    def _ready(self, actor: _Actor, about: dict[str, Any]) -> Event | None:
        self._stillborn = 0
        if about["version"] != __version__:
            raise ModelError(
                f"{about['host']}: meetscribe {about['version']}, but here it is {__version__}",
                hint="install the same version on all nodes of the cluster",
            )
        actor.about, actor.next = about, None
        if actor.task is None:
            return None
        self._begin(actor)
        return Moved(actor.task.name, "models", 0.0)

    def _mourned(self, actor: _Actor, error: Exception) -> Event | None:
        """Give back what an actor had, as soon as it is known whether its node went with it."""
        may_be_node = actor.about and not actor.reason and not self.one_machine
        patient = time.monotonic() - actor.told < _NODE_S
        if may_be_node and patient and not self._is_gone(actor, error):
            return None
        return self._buried(actor, error)

    def _buried(self, actor: _Actor, error: Exception | str) -> Event | None:
        """Find out why an actor has ended, and give back what it had."""
        task, node_gone = actor.task, self._is_gone(actor, error)
        self._end(actor)
        text = str(error)
        reason = actor.reason or _reason(text, str(actor.about.get("host", "")), gone=node_gone)
        if not actor.about and not actor.reason and not node_gone:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise ModelError(
                    f"Ray's workers do not start: {reason}",
                    hint="meetscribe and its models have to be on every node; `ray logs` says more",
                )
        if task is None:
            return None
        no_memory = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        memory = not actor.reason and (no_memory or _LOW_MEMORY in text)
        return Lost(task.name, reason, memory, blameless=node_gone and not actor.reason)

    def _is_gone(self, actor: _Actor, error: Exception | str) -> bool:
        """Tell whether its node has gone, not only the actor."""
        if getattr(error, "preempted", False):
            return True
        alive = {node["NodeID"]: node["Alive"] for node in self._nodes()}
        return bool(actor.about) and not alive.get(actor.about["node"], False)

    def _patience(self, actor: _Actor) -> Event | None:
        """Say of what waits for an actor that it does: until there is room, nothing hangs."""
        now = time.monotonic()
        if actor.about or actor.task is None or now - actor.told < _WAITING_S:
            return None
        actor.told = now
        return Moved(actor.task.name, "models", 0.0)

    def _end(self, actor: _Actor) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor.handle)
        self._actors.remove(actor)
        if actor.task is not None and not is_url(actor.task.folder):
            remove_abandoned(Path(actor.task.folder))

    def _nodes(self) -> list[dict[str, Any]]:
        try:
            return list(self._ray.nodes())
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise ModelError(
                f"Ray's cluster is gone: {_last_line(str(error))}",
                hint="what is done is kept; run the same command again when it is back",
            ) from error

    def _asked(self) -> str:
        units = {"CPU": "cores", "GPU": "GPUs", "memory": "bytes of memory"}
        return ", ".join(f"{need:g} {units[name]}" for name, need in self._needs.items() if need)


def _library() -> Any:  # noqa: ANN401 - an optional library
    # before it is imported, as it reads them then: it should send nothing, and print nothing of
    # its own where events and results are read
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise DependencyError(
            f"--ray: {error}", hint="pip install 'meetscribe[ray]', here and on every node"
        ) from error
    # its import sets another level
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


def _connect(ray: Any, address: str, *, cores: int, num_gpus: float) -> bool:  # noqa: ANN401
    """Reach the cluster, or start one here; False if this process had one already."""
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray {address}: Ray's client cannot tell how a worker gets on",
            hint="start the batch on a machine of the cluster, with --ray auto or --ray HOST:6379",
        )
    if ray.is_initialized():
        return False
    host, _, port = address.rpartition(":")
    options: dict[str, Any] = {}
    if address == LOCAL:
        options = {
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            **({} if num_gpus else {"num_gpus": 0}),
        }
    # Ray gives a node that it starts half a minute, which a busy machine may not have
    for last in (address != LOCAL, False, True):
        try:
            if host and port.isdigit():
                # Ray itself tries for minutes
                socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
            ray.init(
                address=address,
                log_to_driver=False,
                configure_logging=False,
                namespace="meetscribe",
                **options,
            )
        except Exception as error:  # plain ones, too, where a node does not start
            ray.shutdown()
            if last:
                raise _unreachable(address, error) from error
        else:
            break
    return True


def _unreachable(address: str, error: Exception) -> ConfigError:
    said = _last_line(str(error))[:200]
    if address == LOCAL:
        hint = "is this machine very busy, or short of memory? without --ray it needs less"
        return ConfigError(f"--ray local: Ray does not start: {said}", hint=hint)
    return ConfigError(
        f"--ray {address}: no Ray cluster answers: {said}",
        hint="`ray start --head` starts one, `ray status` says whether it runs; "
        "--ray local needs none",
    )


def _fits(there: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """Count the workers that a node has room for.

    >>> _fits({"CPU": 8.0, "GPU": 1.0, "memory": 9e9}, {"CPU": 1.0, "GPU": 0.25, "memory": 2e9})
    4
    """
    return min(
        (int(there.get(name, 0.0) / need + 1e-6) for name, need in needs.items() if need), default=0
    )


def _reason(text: str, host: str, *, gone: bool) -> str:
    if gone:
        return f"the node {host} is gone"
    if _LOW_MEMORY in text:
        return f"Ray ended the worker: {host} ran {_LOW_MEMORY}"
    if "exit type: SYSTEM_ERROR" in text:
        return "the worker process was killed, or crashed"
    return f"the worker ended: {_last_line(text)}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
