"""From measurements to one number, and which experiment wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.domain.metrics import Direction
from tuning.domain.objectives import (
    NAMED_OBJECTIVES,
    Evaluation,
    MeasuredPoint,
    Objective,
    best_of,
    evaluate,
    gain,
    metric_objective,
)
from tuning.domain.slo import Slo, with_implicit_slos

LATENCY = NAMED_OBJECTIVES["minimize_latency"]
THROUGHPUT = NAMED_OBJECTIVES["maximize_throughput"]


def point(
    value: float | None,
    *,
    scenario: str = "D(100,100)",
    concurrency: int = 1,
    repeat: int = 0,
    failed: int = 0,
    objective: Objective = LATENCY,
) -> MeasuredPoint:
    metrics = {} if value is None else {objective.metric: value}
    return MeasuredPoint(scenario, concurrency, repeat, metrics, 10, failed)


def throughput(value: float, scenario: str, concurrency: int) -> MeasuredPoint:
    return point(value, scenario=scenario, concurrency=concurrency, objective=THROUGHPUT)


@pytest.mark.parametrize(
    ("name", "metric", "direction"),
    [
        ("minimize_latency", "e2e_latency_mean_s", "minimize"),
        ("maximize_throughput", "output_throughput_tokens_per_s", "maximize"),
        ("minimize_ttft", "ttft_mean_s", "minimize"),
        ("minimize_tpot", "tpot_mean_s", "minimize"),
    ],
)
def test_named_objectives(name: str, metric: str, direction: str) -> None:
    objective = NAMED_OBJECTIVES[name]
    assert (objective.metric, objective.direction.value) == (metric, direction)
    assert metric_objective(metric, Direction(direction)) is objective


def test_a_latency_is_averaged_over_all_load_points() -> None:
    points = [point(1.0), point(2.0, concurrency=4), point(6.0, scenario="D(1,2)")]
    assert evaluate(points, LATENCY, []).value == pytest.approx(3.0)


def test_a_throughput_is_the_peak_of_each_scenario_averaged() -> None:
    points = [
        throughput(10, "D(100,100)", 1),
        throughput(40, "D(100,100)", 4),
        throughput(30, "D(100,100)", 8),
        throughput(20, "D(500,100)", 1),
    ]
    assert evaluate(points, THROUGHPUT, []).value == pytest.approx(30.0)


def test_repeats_count_by_their_median() -> None:
    points = [point(value, repeat=repeat) for repeat, value in enumerate([1.0, 9.0, 2.0])]
    assert evaluate(points, LATENCY, []).value == 2.0


def test_one_repeat_with_failed_requests_is_not_hidden_by_the_others() -> None:
    points = [point(1.0, repeat=0), point(1.0, repeat=1, failed=1), point(1.0, repeat=2)]
    evaluation = evaluate(points, LATENCY, with_implicit_slos([]))
    assert not evaluation.feasible
    assert "error_rate was 0.03333" in str(evaluation.verdicts[0])


def test_a_point_without_the_metric_leaves_no_value() -> None:
    for points in ([], [point(None)], [point(1.0), point(None, concurrency=4)]):
        evaluation = evaluate(points, LATENCY, [])
        assert (evaluation.value, evaluation.score, evaluation.feasible) == (None, None, False)


def test_penalties_make_a_score_worse_in_its_own_direction() -> None:
    slo = Slo("e2e_latency_mean_s", max=1.0, hard=False)
    slower = evaluate([point(1.1)], LATENCY, [slo])
    assert slower.feasible
    assert slower.value == 1.1
    assert slower.score == pytest.approx(1.1 * (1 + 2.718281828))
    low = Slo("output_throughput_tokens_per_s", min=100.0, hard=False)
    fewer = evaluate([throughput(90.0, "D(1,2)", 1)], THROUGHPUT, [low])
    assert fewer.score == pytest.approx(90.0 / (1 + 2.718281828))


def test_an_infeasible_experiment_still_has_a_value_to_show() -> None:
    evaluation = evaluate([point(2.0)], LATENCY, [Slo("e2e_latency_mean_s", max=1.0)])
    assert not evaluation.feasible
    assert evaluation.value == 2.0
    assert evaluation.score is not None
    assert evaluation.score > 2.0


OBJECTIVES = st.sampled_from([LATENCY, THROUGHPUT])
SCORES = st.floats(0, 1e6)


def feasible(score: float) -> Evaluation:
    return Evaluation(value=score, score=score, feasible=True, verdicts=())


EVALUATIONS = st.one_of(
    st.none(),
    SCORES.map(feasible),
    SCORES.map(lambda score: Evaluation(score, score, feasible=False, verdicts=())),
    st.just(Evaluation(None, None, feasible=False, verdicts=())),
)
CANDIDATES = st.lists(EVALUATIONS, max_size=20).map(lambda found: list(enumerate(found)))
Candidates = list[tuple[int, Evaluation | None]]


@given(CANDIDATES, OBJECTIVES)
def test_the_winner_is_feasible_and_nothing_feasible_beats_it(
    candidates: Candidates, objective: Objective
) -> None:
    winner = best_of(candidates, objective)
    scores = {
        key: found.score
        for key, found in candidates
        if found is not None and found.feasible and found.score is not None
    }
    if winner is None:
        assert not scores
        return
    best = min(scores.values()) if objective is LATENCY else max(scores.values())
    assert scores[winner] == best
    assert all(key >= winner for key, score in scores.items() if score == best)


@given(CANDIDATES, OBJECTIVES, SCORES, st.integers(0, 20))
def test_adding_a_worse_result_never_changes_the_winner(
    candidates: Candidates, objective: Objective, amount: float, place: int
) -> None:
    winner = best_of(candidates, objective)
    if winner is None:
        return
    evaluation = dict(candidates)[winner]
    assert evaluation is not None
    assert evaluation.score is not None
    worse = evaluation.score + amount if objective is LATENCY else evaluation.score - amount
    behind: Candidates = [*candidates, (999, feasible(worse))]
    assert best_of(behind, objective) == winner
    if amount > 0 and worse != evaluation.score:
        somewhere = [*candidates[:place], (999, feasible(worse)), *candidates[place:]]
        assert best_of(somewhere, objective) == winner


@given(
    CANDIDATES.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))), OBJECTIVES
)
def test_the_order_only_decides_between_equals(
    pair: tuple[Candidates, Candidates], objective: Objective
) -> None:
    original, shuffled = pair
    first, second = best_of(original, objective), best_of(shuffled, objective)
    if first is None or second is None:
        assert first is second is None
        return
    one, other = dict(original)[first], dict(original)[second]
    assert one is not None
    assert other is not None
    assert one.score == other.score


@pytest.mark.parametrize(
    ("best", "baseline", "objective", "expected"),
    [
        (50.0, 100.0, LATENCY, 0.5),
        (150.0, 100.0, LATENCY, -0.5),
        (150.0, 100.0, THROUGHPUT, 0.5),
        (100.0, 100.0, THROUGHPUT, 0.0),
        (None, 100.0, THROUGHPUT, None),
        (100.0, None, THROUGHPUT, None),
        (100.0, 0.0, THROUGHPUT, None),
    ],
)
def test_gain(
    best: float | None, baseline: float | None, objective: Objective, expected: float | None
) -> None:
    found = gain(best, baseline, objective)
    assert found == (None if expected is None else pytest.approx(expected))
