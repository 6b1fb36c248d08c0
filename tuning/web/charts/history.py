"""The objective of one experiment after the other, and the best so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.formatting import metric, metric_label
from tuning.web.charts.chart import Chart, Column, Row, capitalised, counted, measure, table
from tuning.web.charts.reading import Run, TaskResults


def best_so_far(
    scored: Iterable[tuple[int, float, float]], direction: Direction
) -> list[tuple[int, float]]:
    """Where the best changes: from (number, score, value) in order to (number, value) of each new
    best. An equal score is no new best."""
    steps: list[tuple[int, float]] = []
    best: float | None = None
    for number, score, value in scored:
        if best is None or direction.prefers(score, best):
            best = score
            steps.append((number, value))
    return steps


def scored(runs: Sequence[Run]) -> list[tuple[int, float, float]]:
    """What `best_so_far` takes, of the runs that may be the best."""
    return [
        (run.number, run.score, run.objective_value)
        for run in runs
        if run.succeeded and run.score is not None and run.objective_value is not None
    ]


def history_chart(results: TaskResults) -> Chart:
    objective = results.objective
    label = metric_label(objective.metric)
    empty = Chart(
        key="history",
        kind="history",
        title="History",
        reading=f"Each point is one experiment's {label}, which is to be {objective.direction}d; "
        "the stepped line is the best so far, the dashed one the baseline, and a cross at the "
        "bottom an experiment without a value.",
    )
    ended = [run for run in results.runs if ExperimentStatus(run.status).is_terminal]
    if not ended:
        return replace(empty, nothing="No experiment has ended yet.")
    steps = best_so_far(scored(results.runs), objective.direction)
    return replace(
        empty,
        summary=_summary(results, ended, steps),
        data=_data(results, ended, steps),
        table=table(_columns(label), ended[::-1], lambda run: _row(results, run)),
        notes=cut_notes(results),
    )


def is_measured(run: Run) -> bool:
    """Has a value that stands: a success, or one whose only fault is a broken SLO."""
    breaks_slo = run.failure_kind == FailureKind.SLO_VIOLATED.value
    return (run.succeeded or breaks_slo) and run.objective_value is not None


def _data(
    results: TaskResults, ended: Sequence[Run], steps: Sequence[tuple[int, float]]
) -> dict[str, Any]:
    baseline = results.baseline
    return {
        "measure": measure(results.objective.metric),
        "last": ended[-1].number,
        "experiments": [
            [
                run.pk,
                run.number,
                results.role(run),
                run.outcome,
                results.settings[run.pk],
                run.objective_value if is_measured(run) else None,
            ]
            for run in ended
        ],
        "best": steps,
        "baseline": baseline.objective_value if baseline and is_measured(baseline) else None,
    }


def _summary(results: TaskResults, ended: Sequence[Run], steps: Sequence[tuple[int, float]]) -> str:
    without = sum(not is_measured(run) for run in ended)
    counts = f"{counted(len(ended), 'experiment')}, {without} of them without a value."
    if not steps:
        return f"{counts} None is a success."
    best = results.by_id.get(results.best_id or 0)
    number, value = (best.number, best.objective_value) if best else steps[-1]
    shown = metric(results.objective.metric, value)
    return (
        f"{counts} The best is experiment {number} with {shown}, "
        f"after {counted(len(steps) - 1, 'improvement')}."
    )


def _columns(label: str) -> list[Column]:
    return [
        Column("#"),
        Column("Outcome", is_number=False),
        Column(capitalised(label)),
        Column("Settings", is_number=False),
    ]


def _row(results: TaskResults, run: Run) -> Row:
    value = run.objective_value if is_measured(run) else None
    shown = metric(results.objective.metric, value)
    cells = (str(run.number), run.outcome, shown, results.settings[run.pk])
    return Row(cells, run.pk, results.role(run))


def cut_notes(results: TaskResults) -> tuple[str, ...]:
    """What a chart of all experiments has to say when they are too many."""
    if not results.is_cut:
        return ()
    return (
        f"{len(results.launches):,} of {results.total:,} experiments are drawn: the newest, the "
        "baseline and the best.",
    )
