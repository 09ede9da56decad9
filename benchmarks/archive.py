"""An archive of a million hours: what the formulas of docs/million-hours.md give, simulated.

    python benchmarks/archive.py                      # the page's table
    python benchmarks/archive.py --hours 20000        # seconds instead of a minute
    python benchmarks/archive.py --nodes 50 --lost-per-hour 0.1 --core-price 0.02

Every recording, worker and node is simulated, event by event: nodes that vanish and come back,
workers that crash, recordings that are broken, what is done again. The formulas know only means.
Both are printed side by side; the exit code is 1 where they differ by more than they may. The seed
is fixed: two runs print the same.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

AGREEMENT = 0.03
"""Formulas and simulation may differ by this share."""


@dataclass(frozen=True)
class Job:
    """What is to be done, on what.

    Attributes
    ----------
    hours : of recordings
    mean_h, spread : length of a recording, log-normal: mean, and deviation of the logarithm
    broken : share of recordings that cannot be transcribed, found out at once
    nodes, workers : nodes, and workers on each
    cost : core hours for an hour of recording (one thread a worker)
    start_s : to load models into a worker that is new
    each_s : for each recording beside its length: fetch, probe, write
    lost_per_hour : how often a node vanishes
    back_h : until another one stands in its place
    crashes_per_hour : of a worker at work
    kept_s : of work that is lost where stages are kept on a disk that all share; None where the
        recording begins again
    retries : attempts after the first one; a vanished node is none
    core_price : of a core hour, in any currency
    """

    hours: float = 1_000_000.0
    mean_h: float = 1.0
    spread: float = 0.8
    broken: float = 0.01
    nodes: int = 125
    workers: int = 8
    cost: float = 0.202
    start_s: float = 20.0
    each_s: float = 5.0
    lost_per_hour: float = 0.05
    back_h: float = 0.1
    crashes_per_hour: float = 0.001
    kept_s: float | None = None
    retries: int = 2
    core_price: float = 0.01

    @property
    def recordings(self) -> int:
        """How many there are."""
        return max(1, round(self.hours / self.mean_h))


@dataclass(frozen=True)
class Outcome:
    """What comes of it.

    Attributes
    ----------
    days : until the last recording is done
    core_hours : that are paid for: all nodes, until then, while they are there
    repeated : share of the work that is done again
    idle : share of the paid time in which a worker has nothing
    failed : recordings without a transcript
    price : of all core hours
    """

    days: float
    core_hours: float
    repeated: float
    idle: float
    failed: float
    price: float


def planned(job: Job) -> Outcome:
    """Give what the formulas of the page say.

    Examples
    --------
    >>> nothing_happens = Job(broken=0, start_s=0, each_s=0, lost_per_hour=0, crashes_per_hour=0)
    >>> round(planned(nothing_happens).core_hours)
    184000
    """
    good = 1.0 - job.broken
    work = job.hours * good * job.cost + job.recordings * job.each_s / 3600
    # a fault hits long recordings more often, and on the average their middle
    length_h = job.mean_h * math.exp(job.spread**2)
    redone_h = length_h * job.cost / 2 if job.kept_s is None else job.kept_s / 3600
    faults = job.lost_per_hour + job.crashes_per_hour
    repeated = faults * (redone_h + job.start_s / 3600)
    busy = work * (1 + repeated) + job.nodes * job.workers * job.start_s / 3600
    there = 1 / (1 + job.lost_per_hour * job.back_h)
    size = job.nodes * job.workers
    days = (busy / (size * there)) / 24
    # an attempt crashes with this probability, and a recording fails when all of its do
    crash = job.crashes_per_hour * job.mean_h * job.cost
    failed = job.recordings * (job.broken + crash ** (job.retries + 1))
    return Outcome(days, busy, repeated, 0.0, failed, busy * job.core_price)


def simulated(job: Job, *, seed: int = 0) -> Outcome:
    """Run all of it, event by event; recordings in order of length, the longest first."""
    return _Simulation(job, seed).run()


class _Simulation:
    def __init__(self, job: Job, seed: int) -> None:
        self.job = job
        self.random = np.random.default_rng(seed)
        centre = math.log(job.mean_h) - job.spread**2 / 2
        lengths_h = self.random.lognormal(centre, job.spread, job.recordings)
        lengths_h *= job.hours / lengths_h.sum()
        self.broken = self.random.random(job.recordings) < job.broken
        self.need_h = np.where(self.broken, 0.0, lengths_h * job.cost)
        # taken from the end: the longest come first, as the scheduler does it
        self.waiting: list[int] = np.argsort(lengths_h, kind="stable").tolist()
        self.left_h = self.need_h + job.each_s / 3600
        self.attempts = np.zeros(job.recordings, np.int64)
        size = job.nodes * job.workers
        self.has = np.full(size, -1)
        self.began = np.zeros(size)
        self.loaded = np.zeros(size, bool)
        self.epoch = np.zeros(size, np.int64)
        self.up = np.ones(job.nodes, bool)
        self.since = np.zeros(job.nodes)
        self.events: list[tuple[float, int, str, int]] = []
        self.count = 0
        self.undone = job.recordings
        self.failed = 0
        self.worked_h = self.useful_h = self.paid_h = 0.0

    def run(self) -> Outcome:
        """Go from event to event until nothing is left."""
        job = self.job
        for node in range(job.nodes):
            self._later(self._until(job.lost_per_hour), "lost", node)
        for worker in range(len(self.has)):
            self._take(0.0, worker)
        now = 0.0
        while self.undone:
            now, _, kind, who = heapq.heappop(self.events)
            if kind == "lost":
                self._lose(now, who)
            elif kind == "back":
                self._return(now, who)
            else:
                worker, epoch = divmod(who, 1 << 32)
                if self.epoch[worker] == epoch:
                    self._end(now, worker, crashed=kind == "crash")
        for node in map(int, np.flatnonzero(self.up)):
            self.paid_h += (now - self.since[node]) * job.workers
        return Outcome(
            days=now / 24,
            core_hours=self.paid_h,
            repeated=self.worked_h / self.useful_h - 1,
            idle=1 - self.worked_h / self.paid_h,
            failed=float(self.failed),
            price=self.paid_h * job.core_price,
        )

    def _later(self, when: float, kind: str, who: int) -> None:
        if math.isfinite(when):
            self.count += 1
            heapq.heappush(self.events, (when, self.count, kind, who))

    def _until(self, per_hour: float) -> float:
        return float(self.random.exponential(1 / per_hour)) if per_hour else math.inf

    def _take(self, now: float, worker: int) -> None:
        """Give a worker the next recording."""
        if not self.waiting:
            return
        one = self.waiting.pop()
        self.has[worker], self.began[worker] = one, now
        self.epoch[worker] += 1
        loading = 0.0 if self.loaded[worker] else self.job.start_s / 3600
        ends, crashes = loading + self.left_h[one], self._until(self.job.crashes_per_hour)
        who = worker << 32 | int(self.epoch[worker])
        self._later(now + min(ends, crashes), "crash" if crashes < ends else "end", who)

    def _end(self, now: float, worker: int, *, crashed: bool) -> None:
        one = int(self.has[worker])
        if crashed:
            self._drop(now, worker)
            self.attempts[one] += 1
            if self.attempts[one] > self.job.retries:
                self.waiting.remove(one)
                self._settle(one, failed=True)
        else:
            self.worked_h += now - self.began[worker]
            self.has[worker], self.loaded[worker] = -1, True
            self._settle(one, failed=bool(self.broken[one]))
        self._take(now, worker)

    def _settle(self, one: int, *, failed: bool) -> None:
        self.undone -= 1
        self.failed += failed
        self.useful_h += float(self.need_h[one]) + self.job.each_s / 3600

    def _drop(self, now: float, worker: int) -> None:
        """Take a worker's recording from it, with what is kept of the work."""
        one = int(self.has[worker])
        self.worked_h += now - self.began[worker]
        if self.job.kept_s is not None:
            loading = 0.0 if self.loaded[worker] else self.job.start_s / 3600
            done_h = max(0.0, now - self.began[worker] - loading)
            kept_h = max(0.0, done_h - self.job.kept_s / 3600)
            self.left_h[one] -= min(kept_h, self.need_h[one])
        self.has[worker], self.loaded[worker] = -1, False
        self.epoch[worker] += 1
        self.waiting.append(one)

    def _lose(self, now: float, node: int) -> None:
        self.up[node] = False
        self.paid_h += (now - self.since[node]) * self.job.workers
        for worker in self._workers(node):
            self.loaded[worker] = False
            if self.has[worker] >= 0:
                self._drop(now, worker)
        idle = (self.has < 0) & self.up.repeat(self.job.workers)
        for one in map(int, np.flatnonzero(idle)):
            self._take(now, one)  # whoever is idle goes on with what it had
        self._later(now + self.job.back_h, "back", node)

    def _return(self, now: float, node: int) -> None:
        self.up[node], self.since[node] = True, now
        self._later(now + self._until(self.job.lost_per_hour), "lost", node)
        for worker in self._workers(node):
            self._take(now, worker)

    def _workers(self, node: int) -> range:
        return range(node * self.job.workers, (node + 1) * self.job.workers)


def scenarios(job: Job) -> dict[str, Job]:
    """Give the fleets of the page's table."""
    steady = replace(job, lost_per_hour=0.0)
    spot = replace(job, core_price=job.core_price / 3)
    return {
        "nodes that stay": steady,
        "spot nodes, begin again": spot,
        "spot nodes, stages shared": replace(spot, kept_s=60.0),
        "array of 8 channels, nodes that stay": replace(steady, cost=1.0, each_s=30.0),
    }


def table(rows: Mapping[str, tuple[Outcome, Outcome | None]]) -> list[str]:
    """Give the lines of the page's table: formulas, and in brackets the simulation."""
    head = "| fleet | days | core hours | done again | idle | price |"
    lines = [head, "|---|---|---|---|---|---|"]
    for name, (plan, found) in rows.items():
        cells = [
            (f"{plan.days:.2f}", found and f"{found.days:.2f}"),
            (f"{plan.core_hours:,.0f}", found and f"{found.core_hours:,.0f}"),
            (f"{100 * plan.repeated:.2f} %", found and f"{100 * found.repeated:.2f} %"),
            ("", found and f"{100 * found.idle:.2f} %"),
            (f"{plan.price:,.0f}", found and f"{found.price:,.0f}"),
        ]
        shown = [one if two is None else f"{one} ({two})".strip() for one, two in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def agree(plan: Outcome, found: Outcome) -> bool:
    """Tell whether formulas and simulation say the same, but for the tail at the end."""
    return all(
        abs(getattr(found, name) / getattr(plan, name) - 1) <= AGREEMENT
        for name in ("days", "core_hours")
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for field in fields(Job):
        kind = int if field.type == "int" else float
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, metavar="X"
        )
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    seed = given.pop("seed")
    rows = {
        name: (planned(job), simulated(job, seed=seed))
        for name, job in scenarios(Job(**given)).items()
    }
    print("\n".join(table(rows)))
    for name, (plan, found) in rows.items():
        print(f"{name}: {found.failed:.0f} recordings without a transcript ({plan.failed:.0f})")
    apart = [name for name, (plan, found) in rows.items() if not agree(plan, found)]
    for name in apart:
        print(f"{name}: formulas and simulation differ by more than {100 * AGREEMENT:.0f} %")
    return 1 if apart else 0


if __name__ == "__main__":
    raise SystemExit(main())
