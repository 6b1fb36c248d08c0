"""Tasks with results as real engines give them, for pages to show: made in seconds, not measured.

    AUTOTUNER_DATA_DIR=/tmp/seeded python -m tests.seeding --tasks 30 --experiments 24

fills a database and makes the superuser `demo` with the password `demo-password`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.seeded_templates import TEMPLATES
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus, TaskStatus
from tuning.domain.measuring.course import End, EndKind
from tuning.domain.metrics import LATENCY_FAMILIES, LATENCY_STATISTICS, latency_name
from tuning.domain.space import configuration_hash
from tuning.domain.spec import TaskSpec, parse_task

PASSWORD = "demo-password"
BATCH = 2_000

_FATES = (
    *[TaskStatus.COMPLETED] * 12,
    TaskStatus.RUNNING,
    TaskStatus.PENDING,
    TaskStatus.CANCELLED,
    TaskStatus.FAILED,
    TaskStatus.PAUSED,
    TaskStatus.DRAFT,
)

_FAILURES = (
    (
        FailureKind.OUT_OF_MEMORY,
        "The engine ran out of memory: CUDA out of memory. Tried to allocate 2.50 GiB.",
    ),
    (FailureKind.STARTUP_TIMEOUT, "The engine was not healthy after 600 s."),
    (
        FailureKind.CRASHED,
        "The engine exited with code 1: RuntimeError: NCCL communicator was aborted.",
    ),
    (FailureKind.BAD_FLAG, "The engine refused a flag: error: argument --tp-size: invalid value."),
)


@dataclass
class Seeding:
    """Fills the database of this process's Django. Deterministic for a seed, but for the times."""

    owner: Any
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def tasks(self, count: int, experiments: int) -> list[int]:
        """Make `count` tasks with about `experiments` each; their numbers, the oldest first."""
        return [self.task(index, count - index, experiments) for index in range(count)]

    def task(
        self,
        index: int = 0,
        age: int = 1,
        experiments: int = 8,
        fate: TaskStatus | None = None,
        objective: Any = None,
    ) -> int:
        """One task of the kind and, unless `fate` says otherwise, the state that `index` gives.

        `objective` may be a list of several.
        """
        from django.utils import timezone

        from tuning.models import Task
        from tuning.orchestrator.control import submit

        template = TEMPLATES[index % len(TEMPLATES)]
        fate = fate or _FATES[index % len(_FATES)]
        spec = parse_task(
            {
                **template,
                "task_name": f"{template['task_name']} {index + 1}",
                "optimization": {
                    **template["optimization"],
                    "max_iterations": experiments,
                    "verification": 0,
                    **({"objective": objective} if objective else {}),
                },
            }
        )
        task = submit(spec, owner=self.owner)
        created = started = timezone.now() - timedelta(hours=3 * age)
        if fate is TaskStatus.RUNNING:
            # What runs has begun a moment ago.
            started = timezone.now() - timedelta(minutes=4 * experiments - 3)
        planned = experiments + (fate is TaskStatus.RUNNING) * 6
        Task.objects.filter(pk=task.pk).update(created_at=created, planned_experiments=planned)
        if fate in {TaskStatus.PENDING, TaskStatus.DRAFT}:
            Task.objects.filter(pk=task.pk).update(status=fate.value)
            return task.pk
        self._experiments(task, spec, experiments, started, fate)
        self.log(task.pk, started)
        self._finish(task.pk, spec, fate, started)
        return task.pk

    def _finish(self, task_id: int, spec: TaskSpec, fate: TaskStatus, started: datetime) -> None:
        from tuning.models import Task
        from tuning.orchestrator.choosing import best_experiment

        task = Task.objects.get(pk=task_id)
        task.status, task.started_at = fate.value, started
        experiments = list(task.experiments.all())
        if fate is TaskStatus.FAILED:
            task.status_reason = "Every configuration failed, most of them with out_of_memory."
            task.experiments.update(
                status=ExperimentStatus.FAILED.value,
                failure_kind=FailureKind.OUT_OF_MEMORY.value,
                failure_message=_FAILURES[0][1],
            )
        elif task.state.is_terminal:
            task.best_experiment = best_experiment(spec, experiments)
            task.status_reason = "Every configuration was tried."
        if task.state.is_terminal:
            task.finished_at = started + timedelta(minutes=4 * len(experiments))
        task.save()

    def _experiments(
        self, task: Any, spec: TaskSpec, count: int, started: datetime, fate: TaskStatus
    ) -> None:
        from tuning.models import Experiment, Measurement
        from tuning.orchestrator.judging import judge_experiment

        rows = []
        for number, parameters in enumerate(self.configurations(spec, count)):
            begun = started + timedelta(minutes=4 * number)
            last = fate is TaskStatus.RUNNING and number == count - 1
            rows.append(self._experiment(task, number, parameters, begun, running=last))
        Experiment.objects.bulk_create(rows, batch_size=BATCH)
        measurements = []
        for row in rows:
            if row.status == ExperimentStatus.SUCCESS.value:
                taken = list(self._measurements(spec, row))
                measurements += taken
                points = [one.as_point() for one in taken]
                judged = judge_experiment(spec, points, End(EndKind.COMPLETE))
                for name, value in judged.fields.items():
                    setattr(row, name, value)
                if judged.failure is not None:
                    row.status = ExperimentStatus.FAILED.value
                    row.failure_kind = judged.failure.kind.value
                    row.failure_message = "A hard SLO is broken."
        Measurement.objects.bulk_create(measurements, batch_size=BATCH)
        changed = [
            "objective_value",
            "score",
            "objective_values",
            "objective_scores",
            "num_requests",
            "num_failed_requests",
            "slo_verdicts",
            "status",
            "failure_kind",
            "failure_message",
        ]
        Experiment.objects.bulk_update(rows, changed, batch_size=200)

    def configurations(self, spec: TaskSpec, count: int) -> Iterator[dict[str, Any]]:
        """`count` different ones, the baseline first."""
        space = spec.space()
        seen: set[str] = set()
        yield space.baseline()
        while len(seen) < count - 1:
            drawn = space.sample(self._rng)
            key = configuration_hash(drawn)
            if key not in seen:
                seen.add(key)
                yield drawn

    def _experiment(
        self, task: Any, number: int, parameters: dict[str, Any], begun: datetime, *, running: bool
    ) -> Any:
        from tuning.models import Experiment

        fails = number > 0 and self._rng.random() < 0.18
        kind, message = self._rng.choice(_FAILURES) if fails and not running else ("", "")
        deploy_s, benchmark_s = self._rng.uniform(20, 90), self._rng.uniform(60, 140)
        status = ExperimentStatus.FAILED if kind else ExperimentStatus.SUCCESS
        return Experiment(
            task=task,
            number=number,
            purpose=(ExperimentPurpose.SEARCH if number else ExperimentPurpose.BASELINE).value,
            parameters=parameters,
            configuration_hash=configuration_hash(parameters),
            status=(ExperimentStatus.BENCHMARKING if running else status).value,
            attempt=1,
            failure_kind=str(kind),
            failure_message=message,
            log_tail=[f"line {line}: loading weights" for line in range(8)] + [message]
            if kind
            else [],
            # A success has a score by the database's own constraint; the real one follows.
            objective_value=None if kind or running else 0.0,
            score=None if kind or running else 0.0,
            command=["python", "-m", "engine", *(f"--{k}={v}" for k, v in parameters.items())],
            environment={"engine_version": "0.9.2", "cpu": "Xeon 8480+", "gpu": "8 x H100 80GB"},
            started_at=begun,
            finished_at=None if running else begun + timedelta(seconds=deploy_s + benchmark_s + 3),
            deploy_s=deploy_s,
            benchmark_s=None if running or kind else benchmark_s,
            cleanup_s=None if running else 3.0,
        )

    def _measurements(self, spec: TaskSpec, row: Any) -> Iterator[Any]:
        from tuning.models import Measurement

        # Each flag's value moves speed and capacity a little, always in the same way.
        quality = 1.0 + sum(
            0.18 * math.sin(hash_of(name, value)) for name, value in row.parameters.items()
        )
        if row.is_baseline:
            # Tuning pays: an engine without its flags is slower than most configurations.
            quality = 0.75
        for scenario in spec.benchmark.traffic_scenarios:
            for concurrency in spec.benchmark.num_concurrency:
                yield Measurement(
                    experiment=row,
                    scenario=scenario,
                    concurrency=concurrency,
                    metrics=self.metrics_at(
                        max(quality, 0.3), concurrency, self._rng.uniform(0.97, 1.03)
                    ),
                    num_requests=100,
                    duration_s=self._rng.uniform(8, 30),
                    raw={"num_requests": 100, "stats": {"ttft": {"mean": 0.1}}},
                )

    @staticmethod
    def metrics_at(quality: float, concurrency: int, noise: float = 1.0) -> dict[str, float]:
        """Of a load point: throughput saturates, and latency grows, with the concurrency."""
        capacity = 2400.0 * quality
        throughput = capacity * concurrency / (concurrency + 24) * noise
        tpot = concurrency / throughput
        ttft = 0.04 / quality * (1 + concurrency / 20)
        means = {
            "ttft": ttft,
            "tpot": tpot,
            "output_latency": 127 * tpot,
            "e2e_latency": ttft + 127 * tpot,
        }
        factors = dict(
            zip(LATENCY_STATISTICS, (1, 0.2, 0.6, 2.1, 0.85, 0.97, 1.1, 1.3, 1.5, 1.9), strict=True)
        )
        latencies = {
            latency_name(family, statistic): means[family] * factors[statistic]
            for family in LATENCY_FAMILIES
            for statistic in LATENCY_STATISTICS
        }
        return {
            **latencies,
            "output_throughput_tokens_per_s": throughput,
            "input_throughput_tokens_per_s": throughput * 4,
            "total_throughput_tokens_per_s": throughput * 5,
            "requests_per_s": throughput / 128,
            "error_rate": 0.0,
            "mean_input_tokens": 512.0,
            "mean_output_tokens": 128.0,
        }

    def verify(
        self, task_id: int, winner: Sequence[float], baseline: Sequence[float] = (1.0, 1.01, 0.99)
    ) -> None:
        """Launch winner and baseline of a finished task again, in as many rounds as there are
        factors of what each gave in the search."""
        from tuning.models import Task
        from tuning.orchestrator.launching_again import pair_of, verdicts_of

        task = Task.objects.get(pk=task_id)
        task.spec["optimization"]["verification"] = len(winner)
        spec = task.parsed_spec()
        pair = pair_of(spec, list(task.experiments.all()))
        assert pair is not None
        for number, factors in enumerate(zip(winner, baseline, strict=True), start=1):
            for original, factor in zip((pair.winner, pair.reference), factors, strict=True):
                self._launched_again(task, original, number, factor)
        verdicts = verdicts_of(spec, list(task.experiments.all()))
        task.verdicts = [one.as_document() for one in verdicts]
        task.save()

    def _launched_again(self, task: Any, original: Any, number: int, factor: float) -> None:
        from tuning.models import Experiment

        again = Experiment.objects.get(pk=original.pk)
        last = task.experiments.order_by("number").last()
        again.pk, again.number = None, last.number + 1
        again.purpose, again.original, again.round = "verification", original, number
        again.objective_value = again.objective_value and again.objective_value * factor
        again.objective_values = {
            name: value * factor for name, value in again.objective_values.items()
        }
        again.save(force_insert=True)

    def log(self, task_id: int, started: datetime, lines: int = 400) -> None:
        """A log of all sources and colours."""
        from tuning.models import LogChunk

        texts = [
            ("orchestrator", "experiment 0: deploying"),
            ("engine", "\x1b[32mINFO\x1b[0m loading weights"),
            ("engine", "\x1b[33mWARNING\x1b[0m falling back to the default attention backend"),
            ("engine", "\x1b[31mERROR\x1b[0m CUDA out of memory. Tried to allocate 2.50 GiB"),
            ("benchmark", "running D(512,128) at concurrency 4"),
        ]
        at = started.timestamp()
        rows = [[at + n, *texts[n % len(texts)]] for n in range(lines)]
        LogChunk.objects.create(task_id=task_id, first_seq=1, last_seq=lines, lines=rows)

    def long_log(self, task_id: int, lines: int) -> None:
        """In place of the task's log: one error at line 777 and one needle in the middle."""
        from tuning.logs import LONGEST_CHUNK
        from tuning.models import LogChunk

        special = {777: "ERROR: out of memory", lines // 2 + 1: "the needle"}
        LogChunk.objects.filter(task_id=task_id).delete()
        LogChunk.objects.bulk_create(
            LogChunk(
                task_id=task_id,
                first_seq=first,
                last_seq=min(first + LONGEST_CHUNK - 1, lines),
                lines=[
                    [float(seq), "engine", special.get(seq, f"request {seq} took 12 ms")]
                    for seq in range(first, min(first + LONGEST_CHUNK, lines + 1))
                ],
            )
            for first in range(1, lines + 1, LONGEST_CHUNK)
        )


def hash_of(name: str, value: object) -> float:
    """The same for the same flag and value in every run, unlike `hash`."""
    return float(sum(index * ord(letter) for index, letter in enumerate(f"{name}={value}", 1)))


def main() -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User

    from tuning.database import prepare_database

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--experiments", type=int, default=24)
    parser.add_argument("--long-log", type=int, help="lines of the second task's log")
    parser.add_argument(
        "--showcase", action="store_true", help="also tests.seeded_showcase; prints what is where"
    )
    arguments = parser.parse_args()
    prepare_database()
    demo = User.objects.filter(username="demo").first()
    demo = demo or User.objects.create_superuser("demo", "", PASSWORD)
    seeding = Seeding(demo)
    made = seeding.tasks(arguments.tasks, arguments.experiments)
    if arguments.long_log:
        seeding.long_log(made[1], arguments.long_log)
    if arguments.showcase:
        from tests.seeded_showcase import Showcase

        sys.stdout.write(json.dumps(Showcase(seeding).all()) + "\n")


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    main()
