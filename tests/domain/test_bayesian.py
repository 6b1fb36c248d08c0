"""The Bayesian search keeps the contract of all strategies, and learns what it should learn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from tests.domain.strategy_conformance import StrategyConformance, keys, tried
from tests.domain.task_files import spec_of
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration
from tuning.domain.search import build_strategy
from tuning.domain.search.base import LimitedValue, PriorTask, Proposal, Trial, limited_values
from tuning.domain.search.bayesian import MOST_MODELLED_PROPOSALS, BayesianSearch
from tuning.domain.search.bayesian_encoding import Encoding
from tuning.domain.search.bayesian_evidence import evidence_of
from tuning.domain.slo import Slo
from tuning.domain.space import ParameterSpace, configuration_hash
from tuning.domain.spec import SearchStrategy

GRID = {
    "batch": [8, 16, 32, 64, 128, 256, 512, 1024],
    "threads": [1, 2, 3, 4, 6, 8],
    "cache": ["f16", "q8_0", "q4_0"],
    "flash": [True, False],
}
BEST: dict[str, FlagValue] = {"batch": 256, "threads": 6, "cache": "q8_0", "flash": True}

Measure = Callable[[Configuration], Trial]


def space_of(parameters: Mapping[str, object], constraints: Sequence[str] = ()) -> ParameterSpace:
    optimization = {"strategy": "random", "max_iterations": 1}
    return spec_of(
        parameters=dict(parameters), constraints=list(constraints), optimization=optimization
    ).space()


def speed(parameters: Configuration) -> float:
    """Tokens/s of an engine with its best configuration at `BEST`; every flag matters."""
    from math import log2

    batch, threads = float(parameters["batch"]), float(parameters["threads"])
    factor = 1 / (1 + 0.15 * (log2(batch) - 8) ** 2) / (1 + 0.04 * (threads - 6) ** 2)
    factor *= {"f16": 0.8, "q8_0": 1.0, "q4_0": 0.7}[str(parameters["cache"])]
    return 100 * factor * (1.0 if parameters["flash"] else 0.75)


def success(parameters: Configuration) -> Trial:
    score = speed(parameters)
    return Trial(parameters, ExperimentStatus.SUCCESS, score, None, measured=score)


def failure(parameters: Configuration, kind: FailureKind) -> Trial:
    return Trial(parameters, ExperimentStatus.FAILED, None, kind)


def search(
    space: ParameterSpace,
    measure: Measure,
    launches: int,
    *,
    seed: int = 0,
    direction: Direction = Direction.MAXIMIZE,
    priors: Sequence[PriorTask] = (),
) -> list[Trial]:
    history: list[Trial] = []
    for _ in range(launches):
        strategy = BayesianSearch(space, seed, direction=direction, priors=priors)
        history += [measure(one.parameters) for one in strategy.ask(history, 1)]
    return history


def launches_until_best(history: Sequence[Trial]) -> int:
    tried_keys = keys([Proposal(trial.parameters) for trial in history])
    wanted = configuration_hash(BEST)
    return tried_keys.index(wanted) + 1 if wanted in tried_keys else len(history) + 1


class TestBayesianSearch(StrategyConformance):
    name = SearchStrategy.BAYESIAN

    def test_a_continuous_space_is_sampled_without_end(self) -> None:
        space = space_of({"share": {"type": "float", "low": 0.1, "high": 0.9}, "threads": [1, 2]})
        proposals = self.build(space).ask([], 50)
        assert len(set(keys(proposals))) == 50
        assert all(space.contains(proposal.parameters) for proposal in proposals)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_288_is_found_in_a_few_launches(seed: int) -> None:
    """At random it takes 144 launches on average."""
    assert launches_until_best(search(space_of(GRID), success, 30, seed=seed)) <= 30


def test_a_latency_is_minimised() -> None:
    def latency(parameters: Configuration) -> Trial:
        score = 1 / speed(parameters)
        return Trial(parameters, ExperimentStatus.SUCCESS, score, None)

    history = search(space_of(GRID), latency, 30, direction=Direction.MINIMIZE)
    assert launches_until_best(history) <= 30


def test_the_task_file_gives_the_direction() -> None:
    def answers(objective: str) -> list[str]:
        optimization = {"strategy": "bayesian", "max_iterations": 9, "objective": objective}
        spec = spec_of(parameters=GRID, optimization=optimization)
        history = [success(one) for one in spec.space().listing()[::24]]
        return keys(build_strategy(spec).ask(history, 3))

    assert answers("maximize_throughput") != answers("minimize_latency")


@pytest.mark.parametrize(
    "ranges",
    [
        {"share": {"type": "float", "low": 0.1, "high": 0.9}},
        {"share": {"type": "float", "low": 0.1, "high": 0.9}, "threads": [1, 2, 4, 8]},
    ],
)
def test_a_continuous_optimum_is_approached(ranges: dict[str, object]) -> None:
    def measure(parameters: Configuration) -> Trial:
        share, threads = float(parameters["share"]), float(parameters.get("threads", 8))
        score = threads / (1 + 20 * (share - 0.63) ** 2)
        return Trial(parameters, ExperimentStatus.SUCCESS, score, None)

    history = search(space_of(ranges), measure, 15)
    assert max(trial.score or 0.0 for trial in history) > 8 * 0.99


def test_constraints_are_kept_in_a_space_that_cannot_be_listed() -> None:
    ranges = {f"f{index}": {"type": "int", "low": 1, "high": 64} for index in range(6)}
    space = space_of(ranges, ["f0 * f1 <= 512", "f2 + f3 <= 70"])

    def measure(parameters: Configuration) -> Trial:
        score = float(parameters["f0"]) * float(parameters["f1"]) + float(parameters["f2"])
        return Trial(parameters, ExperimentStatus.SUCCESS, score, None)

    history = search(space, measure, 25)
    assert all(space.contains(trial.parameters) for trial in history)
    assert max(trial.score or 0.0 for trial in history) > 0.9 * 512


def test_what_fails_by_itself_is_avoided() -> None:
    """Three eighths of the space run out of memory, where the fastest configurations would be."""

    def runs_out(parameters: Configuration) -> bool:
        return float(parameters["batch"]) >= 256

    def measure(parameters: Configuration) -> Trial:
        if runs_out(parameters):
            return failure(parameters, FailureKind.OUT_OF_MEMORY)
        return success(parameters)

    history = search(space_of(GRID), measure, 25)
    assert sum(runs_out(trial.parameters) for trial in history) <= 8
    best = max(history, key=lambda trial: trial.score or 0.0)
    assert best.parameters == {**BEST, "batch": 128}


def test_infrastructure_faults_teach_nothing() -> None:
    space = space_of(GRID)
    history = [success(one) for one in space.listing()[::24]]
    lost = [failure(one, FailureKind.LOST_WORKER) for one in space.listing()[1::60]]
    broken = [replace(trial, failure_kind=FailureKind.CRASHED) for trial in lost]
    cancelled = [
        replace(trial, status=ExperimentStatus.CANCELLED, failure_kind=None) for trial in lost
    ]
    answers = [
        keys(BayesianSearch(space, 0).ask([*history, *others], 4))
        for others in (lost, cancelled, broken)
    ]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_limits_are_learnt_from_what_broke_them() -> None:
    """Fast configurations answer slowly: the best of those that keep the limit is found."""

    def ttft(parameters: Configuration) -> float:
        return float(parameters["batch"]) / 64

    def measure(parameters: Configuration) -> Trial:
        limited = (LimitedValue("ttft_p99_s", ttft(parameters), max=1.0),)
        trial = replace(success(parameters), limited=limited)
        if ttft(parameters) <= 1.0:
            return trial
        kind = FailureKind.SLO_VIOLATED
        return replace(trial, status=ExperimentStatus.FAILED, score=None, failure_kind=kind)

    history = search(space_of(GRID), measure, 30)
    best = max(history, key=lambda trial: trial.score or 0.0)
    assert best.parameters == {**BEST, "batch": 64}
    assert sum(trial.failure_kind is not None for trial in history) <= 12


def test_running_trials_are_not_proposed_again_nor_their_twins() -> None:
    space = space_of(GRID)
    history = [success(one) for one in space.listing()[::24]]
    first = BayesianSearch(space, 0).ask(history, 4)
    running = [
        Trial(proposal.parameters, ExperimentStatus.BENCHMARKING, None, None) for proposal in first
    ]
    second = BayesianSearch(space, 0).ask([*history, *running], 4)
    assert len({*keys(first), *keys(second)}) == 8


def test_pruned_trials_count_as_worse_than_the_best() -> None:
    space = space_of(GRID)
    history = [success(one) for one in space.listing()[::24]]
    pruned = [
        Trial(one, ExperimentStatus.PRUNED, None, None)
        for one in space.listing()
        if one["batch"] == 256 and one["cache"] == "q8_0"
    ][:6]
    proposals = BayesianSearch(space, 0).ask([*history, *pruned], 3)
    assert len(proposals) == 3
    assert not {*keys(proposals)} & {configuration_hash(trial.parameters) for trial in pruned}


@pytest.mark.parametrize(
    ("direction", "pruned_at", "counts_as"),
    [
        (Direction.MAXIMIZE, None, 20.0),
        (Direction.MAXIMIZE, 5.0, 5.0),
        (Direction.MAXIMIZE, 25.0, 20.0),
        (Direction.MAXIMIZE, 0.0, 20.0),
        (Direction.MAXIMIZE, float("-inf"), 20.0),
        (Direction.MINIMIZE, None, 20.0),
        (Direction.MINIMIZE, 5.0, 20.0),
        (Direction.MINIMIZE, 25.0, 25.0),
    ],
)
def test_a_pruned_trial_counts_as_its_bound_where_that_is_worse_than_the_middle(
    direction: Direction, pruned_at: float | None, counts_as: float
) -> None:
    some = space_of(GRID).listing()[:4]
    history = [
        Trial(one, ExperimentStatus.SUCCESS, score, None)
        for one, score in zip(some, (10.0, 20.0, 30.0), strict=False)
    ]
    pruned = Trial(some[3], ExperimentStatus.PRUNED, None, None, pruned_at=pruned_at)
    evidence = evidence_of([*history, pruned], Encoding(space_of(GRID)), direction)
    assert list(evidence.scores) == [10.0, 20.0, 30.0, counts_as]
    assert evidence.kept.all()


def test_where_a_pruned_one_ended_tells_a_good_bound_from_a_bad_one() -> None:
    """Of two flags nothing else is known; one ended as middling, the other far below."""
    space = space_of({"cache": ["f16", "q8_0", "q4_0"], "batch": [8, 16, 32, 64, 128]})
    known = [
        Trial({"cache": "f16", "batch": b}, ExperimentStatus.SUCCESS, 40.0 + b, None)
        for b in (8, 16, 32, 64, 128)
    ]

    def pruned(cache: str, bound: float) -> Trial:
        parameters: dict[str, FlagValue] = {"cache": cache, "batch": 32}
        return Trial(parameters, ExperimentStatus.PRUNED, None, None, pruned_at=bound)

    first = BayesianSearch(space, 0).ask([*known, pruned("q8_0", 71.0), pruned("q4_0", 2.0)], 1)
    other = BayesianSearch(space, 0).ask([*known, pruned("q8_0", 2.0), pruned("q4_0", 71.0)], 1)
    assert first[0].parameters["cache"] == "q8_0"
    assert other[0].parameters["cache"] == "q4_0"


def test_more_than_a_model_foresees_follows_a_random_order() -> None:
    space = space_of(GRID)
    count = MOST_MODELLED_PROPOSALS + 30
    proposals = BayesianSearch(space, 0).ask(tried(BayesianSearch(space, 0).ask([], 3)), count)
    assert len(set(keys(proposals))) == count


def test_scores_of_zero_and_below_are_no_trouble() -> None:
    space = space_of(GRID)
    scores = [0.0, -1.0, 3.0, 1e30, float("inf"), 2.0]
    history = [
        Trial(one, ExperimentStatus.SUCCESS, score, None)
        for one, score in zip(space.listing()[::48], scores, strict=True)
    ]
    assert len(BayesianSearch(space, 0).ask(history, 3)) == 3


def test_equal_scores_are_no_trouble() -> None:
    space = space_of(GRID)
    history = [Trial(one, ExperimentStatus.SUCCESS, 5.0, None) for one in space.listing()[::24]]
    assert len(BayesianSearch(space, 0).ask(history, 3)) == 3


def test_twenty_flags_and_200_trials_are_modelled() -> None:
    flags: dict[str, object] = {f"n{index}": [1, 2, 4, 8, 16] for index in range(12)}
    flags |= {f"c{index}": ["a", "b", "c"] for index in range(8)}
    space = space_of(flags)
    random = BayesianSearch(space, 0).ask([], 200)
    history = [
        Trial(one.parameters, ExperimentStatus.SUCCESS, float(one.parameters["n0"]), None)
        for one in random
    ]
    proposals = BayesianSearch(space, 0).ask(history, 1)
    assert proposals[0].parameters["n0"] == 16


class TestWarmStart:
    def prior(self, measure: Measure, weight: float = 0.8) -> PriorTask:
        return PriorTask(weight, [measure(one) for one in space_of(GRID).listing()[::7]])

    def test_a_kindred_task_saves_launches(self) -> None:
        space = space_of(GRID)
        cold = launches_until_best(search(space, success, 30))
        warm = launches_until_best(search(space, success, 30, priors=[self.prior(success)]))
        assert warm < cold

    def test_a_prior_that_misleads_is_overcome(self) -> None:
        def opposite(parameters: Configuration) -> Trial:
            return replace(success(parameters), score=1 / speed(parameters), measured=None)

        history = search(space_of(GRID), success, 30, priors=[self.prior(opposite)])
        assert launches_until_best(history) <= 30

    def test_trials_of_other_values_and_flags_are_used_as_far_as_they_go(self) -> None:
        trials = [
            success({"batch": batch, "threads": 5, "cache": cache, "flash": True, "more": 1})
            for batch in (24, 300, 4096)
            for cache in ("f16", "q8_0")
        ]
        trials += [replace(trials[0], parameters={"batch": 8})]
        strategy = BayesianSearch(space_of(GRID), 0, priors=[PriorTask(1.0, trials)])
        assert len(strategy.ask([], 3)) == 3


def test_nothing_heavy_is_loaded_before_a_question() -> None:
    program = (
        "import sys; import tuning.domain.search; "
        "print([name for name in ('numpy', 'scipy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


class TestLimitedValues:
    VERDICTS = (
        {"metric": "ttft_p99_s", "actual": 2.0},
        {"metric": "requests_per_s", "actual": 4.0},
        {"metric": "tpot_mean_s", "actual": 0.1},
        {"metric": "error_rate", "actual": 0.0},
    )

    def test_hard_limits_alone_count_and_as_far_as_they_may_be_broken(self) -> None:
        slos = [
            Slo("ttft_p99_s", max=1.0, fail_ratio=0.5),
            Slo("requests_per_s", min=8.0),
            Slo("tpot_mean_s", max=0.05, hard=False),
            Slo("e2e_latency_mean_s", max=1.0),
        ]
        assert limited_values(slos, self.VERDICTS) == (
            LimitedValue("ttft_p99_s", 2.0, max=1.5),
            LimitedValue("requests_per_s", 4.0, min=8.0),
        )

    def test_the_excess_is_above_0_exactly_when_the_limit_is_broken(self) -> None:
        assert LimitedValue("ttft_p99_s", 2.0, max=1.0).log_excess == pytest.approx(0.693, abs=1e-3)
        assert LimitedValue("requests_per_s", 4.0, min=8.0).log_excess == pytest.approx(
            0.693, abs=1e-3
        )
        assert LimitedValue("ttft_p99_s", 1.0, max=1.0).log_excess == 0.0
        assert LimitedValue("error_rate", 0.1, max=0.0).log_excess is None
        assert LimitedValue("ttft_p99_s", None, max=1.0).log_excess is None
