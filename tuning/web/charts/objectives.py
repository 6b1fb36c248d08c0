"""Several objectives: the front of the task's own objectives, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tuning.domain.objectives import Objective
from tuning.domain.pareto import Point, hypervolumes, non_dominated
from tuning.formatting import metric, metric_label
from tuning.web.charts.chart import (
    Chart,
    Choice,
    Column,
    Row,
    capitalised,
    counted,
    measure,
    table,
)
from tuning.web.charts.history import cut_notes
from tuning.web.charts.reading import Run, TaskResults


def front_chart(results: TaskResults) -> Chart:
    """Every measured configuration by two of the objectives, with the front of all of them."""
    first, *others = results.spec.objectives
    chart = Chart(
        key="objectives",
        kind="objectives",
        title="Pareto front of the objectives",
        reading="Each point is one configuration. None is better in every objective than those on "
        "the front; the knee, which is suggested, bulges farthest towards the best of all.",
    )
    drawn = [run for run in results.runs if run.succeeded or run.is_baseline]
    drawn = [run for run in drawn if _point(run.objective_values, results) is not None]
    front = _front(results)
    if not front:
        return replace(chart, nothing="No experiment has succeeded yet.")
    metrics = [one.metric for one in results.spec.objectives]
    return replace(
        chart,
        summary=f"{counted(len(front), 'configuration')} of {len(feasible(results))} on the "
        f"front, by {', '.join(map(metric_label, metrics))}. {_knee_said(results)}",
        data={
            "measures": [measure(name) for name in metrics],
            "points": [
                [
                    run.pk,
                    run.number,
                    results.role(run),
                    run.outcome,
                    results.settings[run.pk],
                    *(run.objective_values[name] for name in metrics),
                ]
                for run in drawn
            ],
            "front": [run.pk for run in front],
        },
        choices=(
            Choice(
                "against",
                f"{capitalised(metric_label(first.metric))} against",
                tuple((one.metric, capitalised(metric_label(one.metric))) for one in others),
            ),
        ),
        table=table(
            [
                Column("#"),
                *(Column(capitalised(metric_label(name))) for name in metrics),
                Column("Outcome", is_number=False),
                Column("Settings", is_number=False),
            ],
            front,
            lambda run: _row(results, run, metrics),
        ),
        notes=cut_notes(results),
    )


def hypervolume_chart(results: TaskResults) -> Chart:
    """How much of the space the front dominates, after each experiment."""
    chart = Chart(
        key="hypervolume",
        kind="hypervolume",
        title="Hypervolume",
        reading="How far the front has come: the share of the space up to a reference point that "
        "it dominates. On axes on which the present front lies between 0 (best) and 1 (worst), the "
        "reference point is 1.1 on each.",
    )
    succeeded = feasible(results)
    if not succeeded:
        return replace(chart, nothing="No experiment has succeeded yet.")
    points = [point for run in succeeded if (point := _point(run.objective_scores, results))]
    shares = hypervolumes(points, [one.direction for one in results.spec.objectives])
    steps = list(zip(succeeded, shares, strict=True))
    grown = [
        (run, share)
        for index, (run, share) in enumerate(steps)
        if index == 0 or share > shares[index - 1]
    ]
    return replace(
        chart,
        summary=f"{shares[-1]:.0%} after {counted(len(succeeded), 'success', 'successes')}, having "
        f"grown {counted(len(grown) - 1, 'time')}.",
        data={"steps": [[run.number, share, run.pk] for run, share in steps]},
        table=table(
            [Column("#"), Column("Hypervolume"), Column("Settings", is_number=False)],
            grown[::-1],
            lambda item: Row(
                (str(item[0].number), f"{item[1]:.1%}", results.settings[item[0].pk]),
                item[0].pk,
                results.role(item[0]),
            ),
        ),
        notes=cut_notes(results),
    )


def feasible(results: TaskResults) -> list[Run]:
    """Successes that have a score by every objective."""
    return [
        run
        for run in results.runs
        if run.succeeded and _point(run.objective_scores, results) is not None
    ]


def _front(results: TaskResults) -> list[Run]:
    candidates = feasible(results)
    points = [point for run in candidates if (point := _point(run.objective_scores, results))]
    directions = [one.direction for one in results.spec.objectives]
    return [candidates[index] for index in non_dominated(points, directions)]


def _point(by_metric: Any, results: TaskResults) -> Point | None:
    objectives: Sequence[Objective] = results.spec.objectives
    if any(one.metric not in by_metric for one in objectives):
        return None
    return tuple(by_metric[one.metric] for one in objectives)


def _knee_said(results: TaskResults) -> str:
    best = results.by_id.get(results.best_id or 0)
    return "" if best is None else f"The knee is experiment {best.number}."


def _row(results: TaskResults, run: Run, metrics: Sequence[str]) -> Row:
    values = (metric(name, run.objective_values.get(name)) for name in metrics)
    cells = (str(run.number), *values, run.outcome, results.settings[run.pk])
    return Row(cells, run.pk, results.role(run))
