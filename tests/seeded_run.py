"""A whole task on simulated engines, in seconds: from its first experiment to its verdicts.

Engines are simulated, and nothing else: what is measured next, what is left out, what is launched
again and what the rounds show is decided by the product itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from tests.seeding import Seeding, hash_of
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.goodput import with_goodput
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus, TaskStatus
from tuning.domain.measuring.course import End, EndKind, Measure
from tuning.domain.names import EngineName
from tuning.domain.space import configuration_hash
from tuning.domain.spec import TaskSpec

REQUESTS_PER_POINT = 200
POINT_OVERHEAD_S = 2.0
DEPLOY_S, CLEANUP_S = 48.0, 3.0


_PROGRAMS: Mapping[EngineName, Sequence[str]] = {
    EngineName.SGLANG: ("python3", "-m", "sglang.launch_server", "--model-path=/model"),
    EngineName.VLLM: ("vllm", "serve", "/model"),
}


@dataclass(frozen=True)
class Machine:
    """How simulated engines behave.

    `spread` is what each flag moves speed by, `baseline` the speed without any, `noise` the
    coefficient of variation of a measurement and `launch_noise` that of a whole launch, once the
    search is over. `failing` maps an experiment's number to how many requests of its largest load
    fail.
    """

    spread: float = 0.12
    baseline: float = 0.8
    noise: float = 0.01
    launch_noise: float = 0.0
    failing: Mapping[int, int] = field(default_factory=dict)
    out_of_memory: Sequence[int] = ()
    environment: Mapping[str, Any] = field(
        default_factory=lambda: {
            "engine": "sglang",
            "image": "lmsysorg/sglang:v0.5.2-cu126",
            "image_digest": "sha256:4b2f0c6d5a37",
            "docker_version": "28.3.2",
            "cpu_count": 64,
            "memory_mib": 515_820,
            "gpus": [0, 1],
        }
    )

    def speed(self, parameters: Mapping[str, Any], aspect: float = 1.0) -> float:
        """Of another `aspect`, other values of the same flags are the fast ones."""
        if not parameters:
            return self.baseline
        moved = (math.sin(aspect * hash_of(name, value)) for name, value in parameters.items())
        return max(0.3, 1.0 + self.spread * sum(moved))


class SimulatedRun:
    """One task from its first experiment to its verdicts."""

    def __init__(
        self, task: Any, spec: TaskSpec, machine: Machine, rng: random.Random, now: datetime
    ) -> None:
        self._task = task
        self._spec = spec
        self._machine = machine
        self._rng = rng
        self._now = now

    def search(self, seeding: Seeding) -> None:
        size = self._spec.space().size
        limit = self._spec.optimization.max_iterations or 10_000
        count = min(limit, size if size is not None else limit) + 1
        for number, parameters in enumerate(seeding.configurations(self._spec, count)):
            purpose = ExperimentPurpose.SEARCH if number else ExperimentPurpose.BASELINE
            self._run(self._new(number, purpose, parameters), launch=1.0)

    def launch_again(self, at_most: int | None) -> bool:
        """False when it stopped before everything was launched again."""
        from tuning.orchestrator.launching_again import next_relaunches

        launched = 0
        while relaunches := next_relaunches(self._spec, self._experiments(), 1):
            (one,) = relaunches
            again = self._new(
                len(self._experiments()),
                one.purpose,
                one.original.parameters,
                original=one.original,
                round=one.round,
            )
            launched += 1
            if launched == at_most:
                again.status = ExperimentStatus.BENCHMARKING.value
                again.save()
                return False
            self._run(again, launch=1.0 + self._rng.gauss(0.0, self._machine.launch_noise))
        return True

    def finish(self) -> None:
        from tuning.orchestrator.choosing import best_experiment
        from tuning.orchestrator.launching_again import verdicts_of

        experiments = self._experiments()
        self._task.verdicts = [one.as_document() for one in verdicts_of(self._spec, experiments)]
        self._task.best_experiment = best_experiment(self._spec, experiments)
        self._task.status = TaskStatus.COMPLETED.value
        self._task.finished_at = self._now
        self._task.save()

    def end_at(self, moment: datetime) -> None:
        """Move everything in time, so that it ends then."""
        from tuning.models import Task

        by = moment - self._now
        self._task.experiments.filter(started_at__isnull=False).update(
            started_at=F("started_at") + by
        )
        self._task.experiments.filter(finished_at__isnull=False).update(
            finished_at=F("finished_at") + by
        )
        Task.objects.filter(pk=self._task.pk).update(
            created_at=F("created_at") + by, started_at=F("started_at") + by
        )
        Task.objects.filter(pk=self._task.pk, finished_at__isnull=False).update(
            finished_at=F("finished_at") + by
        )

    def _experiments(self) -> list[Any]:
        return list(self._task.experiments.all())

    def _new(
        self, number: int, purpose: ExperimentPurpose, parameters: Mapping[str, Any], **fields: Any
    ) -> Any:
        from tuning.models import Experiment

        shown = [f"--{name}={value}" for name, value in parameters.items()]
        return Experiment.objects.create(
            task=self._task,
            number=number,
            purpose=purpose.value,
            parameters=dict(parameters),
            configuration_hash=configuration_hash(parameters),
            attempt=1,
            status=ExperimentStatus.DEPLOYING.value,
            started_at=self._now,
            deploy_s=DEPLOY_S,
            command=[*_PROGRAMS[self._spec.base_runtime], *shown],
            environment=dict(self._machine.environment),
            **fields,
        )

    def _run(self, experiment: Any, launch: float) -> None:
        from tuning.orchestrator.judging import judge_experiment

        failure = None
        measured_s = 0.0
        if experiment.number in self._machine.out_of_memory:
            failure = Failure(
                FailureKind.OUT_OF_MEMORY,
                "The engine ran out of memory: CUDA out of memory. Tried to allocate 2.50 GiB.",
            )
        else:
            end, measured_s = self._measure(experiment, launch)
            points = [one.as_point() for one in experiment.measurements.all()]
            judged = judge_experiment(self._spec, points, end)
            for name, value in judged.fields.items():
                setattr(experiment, name, value)
            failure = judged.failure
            experiment.benchmark_s = measured_s
            done = ExperimentStatus.PRUNED if end.kind is EndKind.PRUNED else None
            experiment.status = (done or ExperimentStatus.SUCCESS).value
        if failure is not None:
            experiment.status = ExperimentStatus.FAILED.value
            experiment.failure_kind = failure.kind.value
            experiment.failure_message = failure.message
        self._now += timedelta(seconds=DEPLOY_S + measured_s + CLEANUP_S)
        experiment.cleanup_s = CLEANUP_S
        experiment.finished_at = self._now
        experiment.save()

    def _measure(self, experiment: Any, launch: float) -> tuple[End, float]:
        """Ask the task's own course; the seconds that measuring took."""
        from tuning.orchestrator.measuring import course_for
        from tuning.orchestrator.past import PastExperiments

        course = course_for(self._spec, experiment, point_by_point=True)
        past = PastExperiments(experiment).read()
        taken: list[Any] = []
        while isinstance(
            step := course.next_step([one.as_point() for one in taken], past), Measure
        ):
            taken.append(self._measurement(experiment, step, launch))
        return step, sum(one.duration_s + POINT_OVERHEAD_S for one in taken)

    def _measurement(self, experiment: Any, step: Measure, launch: float) -> Any:
        from tuning.models import Measurement

        largest = max(self._spec.benchmark.num_concurrency)
        is_largest = step.load.concurrency == largest
        failed = self._machine.failing.get(experiment.number, 0) if is_largest else 0
        metrics = self._metrics(experiment.parameters, step.load.concurrency, launch)
        metrics["error_rate"] = failed / REQUESTS_PER_POINT
        cannot_flush = step.load.scenario.startswith("N") and step.load.concurrency == largest
        return Measurement.objects.create(
            experiment=experiment,
            scenario=step.load.scenario,
            concurrency=step.load.concurrency,
            repeat=step.repeat,
            metrics=with_goodput(metrics, step.load.concurrency, self._spec.slos),
            num_requests=REQUESTS_PER_POINT,
            num_failed_requests=failed,
            duration_s=REQUESTS_PER_POINT / metrics["requests_per_s"],
            cache_flush="not" if cannot_flush else "whole",
            raw={"num_requests": REQUESTS_PER_POINT, "stats": {"ttft": {"mean": 0.1}}},
        )

    def _metrics(
        self, parameters: Mapping[str, Any], concurrency: int, launch: float
    ) -> dict[str, float]:
        """Latency and throughput as `Seeding` has them, but the time to the first token and the
        energy of a token want other flags than the throughput does."""
        noise = 1.0 + self._rng.gauss(0.0, self._machine.noise)
        speed = self._machine.speed(parameters) * launch * noise
        metrics = Seeding.metrics_at(speed, concurrency)
        if len(self._spec.objectives) > 1:
            prompt = self._machine.speed(parameters, aspect=1.7)
            power = self._machine.speed(parameters, aspect=2.3)
            for name in [one for one in metrics if one.startswith("ttft_")]:
                metrics[name] *= speed / prompt * (1.0 + self._rng.gauss(0.0, self._machine.noise))
            per_second = metrics["output_throughput_tokens_per_s"]
            metrics["energy_per_output_token_j"] = (
                700.0 * self._machine.speed(parameters) / power / per_second
            )
        return metrics
