"""What a task will do, before it does it: how many experiments, and about how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuning.domain.goodput import GOODPUT_METRICS
from tuning.domain.measuring.goodput import MOST_PROBES
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.names import EngineName, FlagValue
from tuning.domain.search import build_strategy
from tuning.domain.spec import TaskSpec
from tuning.domain.traffic import typical_output_tokens

LONGEST_PLAN = 10_000
"""More configurations than this are counted, not listed."""

SECONDS_PER_OUTPUT_TOKEN = 0.03
"""What one token of one request takes before anything was measured: a common reading speed."""

BENCHMARK_START_S = 4.0
"""What genai-bench 0.0.5 takes to import itself; docs/GENAI_BENCH_LOGS.md."""

POINT_OVERHEAD_S = 2.0
"""genai-bench ends a point on a whole second and rests one second after it."""

ENGINE_START_S: Mapping[EngineName, float] = {
    EngineName.LLAMACPP: 5.0,
    EngineName.VLLM: 120.0,
    EngineName.SGLANG: 90.0,
}
"""Typical times from launch to healthy for a small model, before anything was measured."""


@dataclass(frozen=True)
class Plan:
    """The experiments of a task as far as they can be told beforehand.

    `configurations` begins with the baseline when there is one. `is_complete` is False when there
    are more than `LONGEST_PLAN`.
    """

    configurations: tuple[Mapping[str, FlagValue], ...]
    is_complete: bool


def plan(spec: TaskSpec) -> Plan:
    """The configurations of a task in the order in which they are tried.

    Raises:
        SpaceError: the space can't be searched by this strategy, or its constraints leave nothing.
    """
    limit = spec.optimization.max_iterations
    wanted = LONGEST_PLAN + 1 if limit is None else min(limit, LONGEST_PLAN + 1)
    proposals = build_strategy(spec).ask([], wanted)
    configurations = [proposal.parameters for proposal in proposals[:LONGEST_PLAN]]
    if spec.optimization.baseline:
        configurations.insert(0, spec.space().baseline())
    return Plan(tuple(configurations), is_complete=len(proposals) <= LONGEST_PLAN)


def verifying_launches(spec: TaskSpec, configurations: int) -> int:
    """How many launches verification adds, if not the baseline itself wins.

    `configurations` counts those that are tried, with the baseline; of one there is nothing to
    compare.
    """
    return 2 * spec.optimization.verification if configurations > 1 else 0


def seeks_goodput(spec: TaskSpec) -> bool:
    """Whether concurrencies are found by probes, between the lowest and the highest of the task."""
    return spec.objective.metric in GOODPUT_METRICS


def may_leave_out_loads(spec: TaskSpec) -> bool:
    """Whether a configuration may be measured at fewer loads than there are."""
    return seeks_goodput(spec) or spec.optimization.pruning is not Pruning.OFF


def most_load_points(spec: TaskSpec) -> int:
    """Load points of one experiment when none of them is left out, each counted once."""
    return len(spec.benchmark.traffic_scenarios) * len(_concurrencies(spec))


def _concurrencies(spec: TaskSpec) -> tuple[int, ...]:
    """Those at which each scenario is measured. Probes for goodput are taken to lie evenly on a
    logarithmic scale, as many as there may be."""
    levels = spec.benchmark.num_concurrency
    if not seeks_goodput(spec):
        return levels
    lowest, ratio = min(levels), max(levels) / min(levels)
    last = MOST_PROBES - 1
    return tuple(round(lowest * ratio ** (probe / last)) for probe in range(MOST_PROBES))


def estimate_experiment_s(spec: TaskSpec) -> float:
    """About how many seconds one experiment takes, by rules of thumb alone.

    Each load point sends its requests in rounds of its concurrency and ends at its time limit at
    the latest. Use the mean of earlier experiments instead where there are any.
    """
    benchmark = spec.benchmark
    # A probe counts once, whatever the task says of repeats.
    repeats = 1 if seeks_goodput(spec) else benchmark.repeats_per_launch
    total_s = ENGINE_START_S[spec.base_runtime] + BENCHMARK_START_S
    for scenario in benchmark.traffic_scenarios:
        request_s = typical_output_tokens(scenario) * SECONDS_PER_OUTPUT_TOKEN
        for concurrency in _concurrencies(spec):
            rounds = -(-benchmark.max_requests_per_iteration // concurrency)
            point_s = min(rounds * request_s, benchmark.max_time_per_iteration * 60.0)
            total_s += repeats * (point_s + POINT_OVERHEAD_S)
    return total_s
