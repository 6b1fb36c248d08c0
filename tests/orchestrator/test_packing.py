"""A thousand experiments of mixed needs on eight cards: none shared, and hardly a card idle.

Eight workers in threads run the product's own job over the real database. Only the experiments are
simulated: each takes a time of a virtual clock, which goes on when every worker waits for it. So
the packing is that of the decisions, whatever else this machine does. Who has waited long is told
by the same clock.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from controllers.ports import lease_port
from tests.orchestrator.accelerators import FakeHost, gpu_task, live_worker, pending, ports_on
from tuning import jobs
from tuning.domain.lifecycle import ExperimentEvent
from tuning.models import Experiment, GpuLease, Task, WorkerHeartbeat
from tuning.orchestrator.gpus import claim_with_gpus

WORKERS = 8
CARDS = 8
EXPERIMENTS = 1_000
TASKS = 4


class VirtualClock:
    """Time that only passes while each of the workers sleeps or has nothing to do."""

    def __init__(self, workers: int) -> None:
        self.passed_s = 0.0
        self._started = timezone.now()
        self._awake = workers
        self._idle = 0
        self._wake_at: list[float] = []
        self._news = 0
        self._changed = threading.Condition()

    def now(self) -> datetime:
        """As `django.utils.timezone.now`."""
        return self._started + timedelta(seconds=self.passed_s)

    def sleep(self, duration: float) -> None:
        with self._changed:
            until = self.passed_s + duration
            self._wake_at.append(until)
            self._fall_asleep()
            self._changed.wait_for(lambda: self.passed_s >= until)
            # Whoever moved the clock has counted this one as awake, as `tell` does below.

    def tell(self) -> None:
        """There may be something to do for those who wait."""
        with self._changed:
            self._news += 1
            self._awake += self._idle
            self._idle = 0
            self._changed.notify_all()

    def news(self) -> int:
        with self._changed:
            return self._news

    def wait_for_news(self, seen: int) -> bool:
        """False when there can't be any more: all the others wait too."""
        with self._changed:
            if self._news != seen:
                return True
            self._idle += 1
            self._fall_asleep()
            self._changed.wait_for(lambda: self._news != seen or self._is_over())
            return self._news != seen

    def _is_over(self) -> bool:
        return self._awake == 0 and not self._wake_at

    def _fall_asleep(self) -> None:
        self._awake -= 1
        if self._awake == 0 and self._wake_at:
            self.passed_s = min(self._wake_at)
            woken = [until for until in self._wake_at if until <= self.passed_s]
            self._wake_at = [until for until in self._wake_at if until > self.passed_s]
            self._awake += len(woken)
        self._changed.notify_all()


@dataclass
class Simulation:
    """Runs queued messages as the workers' job does, with an engine that only takes time."""

    host: FakeHost
    locks: Path
    durations: dict[int, float]
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(WORKERS))
    messages: deque[int] = field(default_factory=deque)
    card_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    _cards: set[int] = field(default_factory=set)
    _ports: set[int] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def ring(self, experiment_id: int) -> None:
        self.messages.append(experiment_id)
        self.clock.tell()

    def run(self, experiment_id: int) -> bool:
        """As `jobs._run`."""
        lease = claim_with_gpus(experiment_id, ports_on(self.host))
        if lease is None:
            return False
        with lease_port(self.locks, (8500, 8500 + CARDS)) as port:
            self._begin({*lease.gpus}, port.port)
            self.clock.sleep(self.durations[experiment_id])
            self._end({*lease.gpus}, port.port)
        with self._guard:
            self.card_seconds += len(lease.gpus) * self.durations[experiment_id]
        lease.end(ExperimentEvent.CANCELLED, finished_at=timezone.now())
        return True

    def work(self) -> None:
        try:
            while True:
                seen = self.clock.news()
                try:
                    experiment_id = self.messages.popleft()
                except IndexError:
                    if not self.clock.wait_for_news(seen):
                        return
                    continue
                jobs.run_queued_experiment(experiment_id)
        except BaseException as error:
            self.faults.append(repr(error))
            raise
        finally:
            connection.close()

    def _begin(self, cards: set[int], port: int) -> None:
        with self._guard:
            if cards & self._cards or port in self._ports:
                self.faults.append(f"{cards} or {port} given twice")
            self._cards |= cards
            self._ports.add(port)

    def _end(self, cards: set[int], port: int) -> None:
        with self._guard:
            self._cards -= cards
            self._ports.discard(port)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_thousand_experiments_share_no_card_and_leave_few_idle(
    make_task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    live_worker(gpus=CARDS)
    # At the end of virtual time it is still alive.
    WorkerHeartbeat.objects.update(heartbeat_at=timezone.now() + timedelta(days=365))
    tasks = [gpu_task(make_task) for _ in range(TASKS)]
    needs = [chance.choice((1, 2, 4, 8)) for _ in range(EXPERIMENTS)]
    ids = [
        experiment_id
        for number, task in enumerate(tasks)
        for experiment_id in pending(task, *needs[number::TASKS])
    ]
    chance.shuffle(ids)
    durations = {experiment_id: chance.uniform(60.0, 900.0) for experiment_id in ids}
    simulation = Simulation(FakeHost(CARDS), tmp_path, durations)
    simulation.messages.extend(ids)
    monkeypatch.setattr("tuning.orchestrator.gpus.timezone", simulation.clock)
    monkeypatch.setattr(jobs, "_run", simulation.run)
    monkeypatch.setattr(jobs, "HostGpus", lambda: simulation.host)
    monkeypatch.setattr(jobs, "ring_for_experiment", simulation.ring)

    workers = [threading.Thread(target=simulation.work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert simulation.faults == []
    assert Experiment.objects.filter(status="CANCELLED", attempt=1).count() == EXPERIMENTS
    assert not GpuLease.objects.exists()
    packing = simulation.card_seconds / (CARDS * simulation.clock.passed_s)
    assert packing >= 0.9
