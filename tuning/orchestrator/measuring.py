"""Measuring one deployed engine: which load comes next, and when that is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from controllers.base import BenchmarkRun, Deployment, GpuWatch, PointByPointRun, PointResult
from controllers.base import LoadPoint as PointToMeasure
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.goodput import GOODPUT_METRICS, with_goodput
from tuning.domain.lifecycle import ExperimentPurpose
from tuning.domain.measuring.course import (
    Course,
    End,
    EndKind,
    LimitedCourse,
    Measure,
    PrunedCourse,
    Traffic,
    WholeCourse,
)
from tuning.domain.measuring.goodput_course import GoodputCourse
from tuning.domain.measuring.loads import Load
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import with_gpu_metrics
from tuning.domain.objectives import MeasuredPoint
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Measurement
from tuning.orchestrator.lease import HeldLease, LeaseLost
from tuning.orchestrator.past import PastExperiments
from tuning.orchestrator.plan import benchmark_plan
from tuning.orchestrator.ports import Ports, TokenizerUnavailable
from tuning.orchestrator.waiting import ExperimentFailed, Patience

MEASURING_TICKS_S = (0.05, 0.05)
"""Between two looks at a benchmark, which costs a tenth of a millisecond."""
DYING_S = 3.0
"""How long an engine that failed requests may take to die of what it failed them for."""
DYING_TICK_S = 0.25


@dataclass(frozen=True)
class Voice:
    """How an experiment tells what it does: `say` in the task's log, `progress` to who watches."""

    say: Callable[[str], None]
    progress: Callable[[str], None]


def traffic_of(spec: TaskSpec) -> Traffic:
    benchmark = spec.benchmark
    loads = [
        Load(scenario, concurrency)
        for scenario in benchmark.traffic_scenarios
        for concurrency in benchmark.num_concurrency
    ]
    return Traffic(loads, benchmark.repeats_per_launch, spec.objective, spec.slos)


def course_for(spec: TaskSpec, experiment: Experiment, *, point_by_point: bool) -> Course:
    """What others are compared with is measured whole, whatever the task says of pruning."""
    traffic = traffic_of(spec)
    in_search = experiment.why is ExperimentPurpose.SEARCH
    pruning = spec.optimization.pruning if in_search else Pruning.OFF
    if spec.objective.metric in GOODPUT_METRICS:
        # One that takes all points at once can't be told the next: the task's own have to do.
        return GoodputCourse(traffic, pruning) if point_by_point else WholeCourse(traffic)
    if pruning is Pruning.OFF:
        return WholeCourse(traffic)
    # No single value says which of several objectives can't be reached any more.
    is_one = len(spec.objectives) == 1
    return PrunedCourse(traffic, pruning) if is_one else LimitedCourse(traffic)


class Measuring:
    """The measuring of one deployment, by the holder of its experiment's lease.

    `stop` has to be called at the end, whatever happens; `fail_if_gone` raises once the engine is.
    """

    def __init__(
        self,
        lease: HeldLease,
        spec: TaskSpec,
        ports: Ports,
        patience: Patience,
        voice: Voice,
        fail_if_gone: Callable[[], None],
    ) -> None:
        self._lease = lease
        self._experiment = lease.experiment
        self._spec = spec
        self._ports = ports
        self._patience = patience
        self._voice = voice
        self._fail_if_gone = fail_if_gone
        self._points: list[MeasuredPoint] = []
        self._past = PastExperiments(self._experiment)
        self._end: End | None = None
        self._run: BenchmarkRun | None = None
        self._gpu_watch: GpuWatch | None = None

    def measure(self, deployment: Deployment, workdir: Path) -> End:
        """Measure until nothing more is to be measured, and say why that is.

        Raises:
            ExperimentFailed: the benchmark or the engine broke, or it took too long.
            LeaseLost, ExperimentCancelled, ExperimentInterrupted: as `Patience` does.
        """
        started = time.monotonic()
        run = self._start(deployment, workdir)
        course = course_for(
            self._spec, self._experiment, point_by_point=isinstance(run, PointByPointRun)
        )
        timeout_s = self._spec.optimization.timeout_per_iteration
        overdue = Failure(
            FailureKind.BENCHMARK_TIMEOUT, f"Measuring was not done after {timeout_s:g} s."
        )
        self._patience.wait_until(
            lambda: self._is_done(run, course), timeout_s, lambda: overdue, MEASURING_TICKS_S
        )
        self._lease.record(benchmark_s=time.monotonic() - started)
        failure = run.failure if self._end is None else None
        if failure is not None or self._requests_failed():
            self._blame_a_dying_engine()
        if failure is not None:
            raise ExperimentFailed(failure)
        return self._end or End(EndKind.COMPLETE)

    def stop(self) -> None:
        """End the benchmark and look at no cards any more. Calling it twice is no error."""
        if self._gpu_watch is not None:
            self._gpu_watch.stop()
        if self._run is not None:
            self._run.stop()

    def _start(self, deployment: Deployment, workdir: Path) -> BenchmarkRun:
        try:
            plan = benchmark_plan(self._spec, self._ports.tokenizer_for(self._spec))
        except TokenizerUnavailable as error:
            raise ExperimentFailed(Failure(FailureKind.BENCHMARK_FAILED, str(error))) from error
        if self._lease.gpus:
            self._gpu_watch = self._ports.accelerators.watch(self._lease.gpus)
        self._run = self._ports.benchmark.start(deployment, plan, workdir, self._ports.log)
        return self._run

    # --- Looking, on every tick ---

    def _is_done(self, run: BenchmarkRun, course: Course) -> bool:
        # Asked before polling: a point may land between the two, and the last must not be missed.
        finished = run.finished
        results = run.poll()
        for result in results:
            self._save(result)
        self._voice.progress(run.phase)
        # Also after the last point: an engine that died in it may still have left a result.
        self._fail_if_gone()
        if finished:
            return True
        if isinstance(run, PointByPointRun):
            return run.is_idle and self._goes_on_with(run, course)
        return bool(results) and self._has_ended(run, course)

    def _goes_on_with(self, run: PointByPointRun, course: Course) -> bool:
        """Tell the next point; True when there is none."""
        step = course.next_step(self._points, self._past.read())
        if isinstance(step, Measure):
            run.measure(PointToMeasure(step.load.scenario, step.load.concurrency, step.repeat))
            return False
        return self._stop_at(run, step)

    def _has_ended(self, run: BenchmarkRun, course: Course) -> bool:
        """Stop a benchmark that takes all points at once, where the rest is not worth measuring."""
        step = course.next_step(self._points, self._past.read())
        # Its last point need not have been polled for when the course has seen all it wanted.
        if isinstance(step, Measure) or step.kind is EndKind.COMPLETE:
            return False
        return self._stop_at(run, step)

    def _stop_at(self, run: BenchmarkRun, end: End) -> bool:
        self._end = end
        if end.kind is EndKind.ENOUGH:
            self._voice.say(f"measured enough. {end.reason}")
        elif end.kind is not EndKind.COMPLETE:
            self._voice.say(f"measuring is stopped. {end.reason}")
        run.stop()
        return True

    # --- Recording ---

    def _save(self, result: PointResult) -> None:
        point = result.point
        with transaction.atomic():
            if not self._lease.still_ours():
                raise LeaseLost(str(self._experiment))
            measurement = Measurement.objects.create(
                experiment=self._experiment,
                scenario=point.scenario,
                concurrency=point.concurrency,
                repeat=point.repeat,
                metrics=self._metrics(result),
                num_requests=result.num_requests,
                num_failed_requests=result.num_failed_requests,
                duration_s=result.duration_s,
                cache_flush=result.cache_flush.value if result.cache_flush else "",
                raw=dict(result.raw),
            )
        self._points.append(measurement.as_point())
        failed = f", {result.num_failed_requests} failed" if result.num_failed_requests else ""
        self._voice.say(
            f"measured {point.scenario} at concurrency {point.concurrency}: "
            f"{result.num_requests} requests{failed} in {result.duration_s:.1f} s"
        )

    def _metrics(self, result: PointResult) -> Mapping[str, float]:
        """With those of the GPUs, over the time that the load point took: it has just ended."""
        watch = self._gpu_watch
        telemetry = watch.metrics_of_last(result.duration_s) if watch is not None else {}
        metrics = with_gpu_metrics(result.metrics, telemetry, self._experiment.gpus_needed)
        return with_goodput(metrics, result.point.concurrency, self._spec.slos)

    # --- A benchmark that failed ---

    def _blame_a_dying_engine(self) -> None:
        """Raises ExperimentFailed with the engine's own failure when it dies within a moment.

        A broken engine often answers errors first and exits after the benchmark has given up.
        """
        deadline = time.monotonic() + DYING_S
        while time.monotonic() < deadline:
            self._fail_if_gone()
            self._patience.stop_if_asked()
            time.sleep(DYING_TICK_S)

    def _requests_failed(self) -> bool:
        return any(point.num_failed_requests for point in self._points)
