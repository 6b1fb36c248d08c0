"""Latency against throughput: curves over the load, and the Pareto front of all experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuning.domain.metrics import Direction
from tuning.domain.pareto import pareto_front
from tuning.formatting import metric, metric_label
from tuning.web.charts.chart import (
    Chart,
    Choice,
    Column,
    Row,
    Table,
    capitalised,
    counted,
    measure,
    table,
)
from tuning.web.charts.history import cut_notes
from tuning.web.charts.load_points import Curve, Point
from tuning.web.charts.reading import (
    CURVE_LATENCIES,
    FRONT_LATENCIES,
    OTHER_CURVES,
    THROUGHPUT,
    TaskResults,
)


def curves_chart(results: TaskResults) -> Chart:
    """A curve of the best, of the baseline and of a few others."""
    if not results.curves:
        return curves_of_many((), ())
    names = [_curve_name(results, curve) for curve in results.curves]
    chart = curves_of_many(results.curves, names)
    successes = sum(run.succeeded for run in results.runs)
    if successes <= OTHER_CURVES + 1:
        return chart
    return replace(
        chart,
        notes=(f"Drawn are the best, the baseline, and the {OTHER_CURVES} next best.",),
    )


def curves_of_many(curves: Sequence[Curve], names: Sequence[tuple[str, str]]) -> Chart:
    """`names` has a label and a role ("best", "baseline" or "") for each of the curves."""
    chart = Chart(
        key="curves",
        kind="curves",
        title="Latency against throughput",
        reading="Each curve is one configuration under growing load, its points the "
        "concurrencies; the lower and the farther right, the better.",
    )
    if not curves:
        return replace(chart, nothing="No load point has been measured yet.")
    scenarios = list(dict.fromkeys(name for curve in curves for name in curve.scenarios))
    return replace(
        chart,
        summary=f"{counted(len(curves), 'configuration')}: "
        + ", ".join(label for label, _ in names)
        + ".",
        data={
            "throughput": measure(THROUGHPUT),
            "latencies": [measure(name) for name in CURVE_LATENCIES],
            "curves": [
                {"id": curve.experiment_id, "label": label, "role": role, "points": _points(curve)}
                for curve, (label, role) in zip(curves, names, strict=True)
            ],
        },
        choices=(
            Choice("scenario", "Traffic", tuple((name, name) for name in scenarios)),
            latency_choice(CURVE_LATENCIES),
        ),
        table=_curves_table(curves, names),
    )


def latency_choice(metrics: Sequence[str]) -> Choice:
    return Choice(
        "latency",
        "Latency",
        tuple((name, capitalised(metric_label(name))) for name in metrics),
    )


def _curve_name(results: TaskResults, curve: Curve) -> tuple[str, str]:
    run = results.by_id[curve.experiment_id]
    role = results.role(run)
    return f"{run.number} ({role})" if role else str(run.number), role


def _points(curve: Curve) -> dict[str, list[list[float | None]]]:
    """By scenario: concurrency, throughput, and then the latencies."""
    return {
        scenario: [[point.concurrency, *point.values] for point in points]
        for scenario, points in curve.scenarios.items()
    }


def _curves_table(curves: Sequence[Curve], names: Sequence[tuple[str, str]]) -> Table:
    columns = [
        Column("Experiment"),
        Column("Traffic", is_number=False),
        Column("Concurrency"),
        *(Column(capitalised(metric_label(name))) for name in (THROUGHPUT, *CURVE_LATENCIES)),
    ]
    rows = [
        Row(_point_cells(label, scenario, point), curve.experiment_id, role)
        for curve, (label, role) in zip(curves, names, strict=True)
        for scenario, points in curve.scenarios.items()
        for point in points
    ]
    return table(columns, rows, lambda row: row)


def _point_cells(label: str, scenario: str, point: Point) -> tuple[str, ...]:
    names = (THROUGHPUT, *CURVE_LATENCIES)
    shown = (metric(name, value) for name, value in zip(names, point.values, strict=True))
    return (label, scenario, str(point.concurrency), *shown)


def pareto_chart(results: TaskResults) -> Chart:
    """Every success by its throughput and latency, both reduced over the load points."""
    chart = Chart(
        key="pareto",
        kind="pareto",
        title="Pareto front",
        reading="Each point is one configuration: its peak output throughput, averaged over the "
        "traffic scenarios, against its latency, averaged over the load points. None is better "
        "in both than those on the line.",
    )
    candidates = [pk for pk in results.reduced if results.by_id[pk].succeeded]
    in_part = sum(run.succeeded and run.pk not in results.reduced for run in results.runs)
    if not candidates:
        nothing = "was measured at every load" if in_part else "has succeeded"
        return replace(chart, nothing=f"No experiment {nothing} yet.")
    fronts = {
        name: _front(results.reduced, candidates, position)
        for position, name in enumerate(FRONT_LATENCIES, start=1)
    }
    return replace(
        chart,
        summary=_front_summary(fronts, len(candidates)),
        data={
            "throughput": measure(THROUGHPUT),
            "latencies": [measure(name) for name in FRONT_LATENCIES],
            "points": [_front_point(results, pk) for pk in results.reduced],
            "fronts": fronts,
        },
        choices=(latency_choice(FRONT_LATENCIES),),
        table=_front_table(results, fronts),
        notes=(*cut_notes(results), *_in_part_notes(in_part)),
    )


def _in_part_notes(in_part: int) -> tuple[str, ...]:
    if not in_part:
        return ()
    return (f"{counted(in_part, 'experiment')} left out, for which not every load was needed.",)


def _front(
    reduced: Mapping[int, tuple[float, ...]], candidates: Sequence[int], position: int
) -> list[int]:
    """Primary keys on the front of throughput against one latency, the highest throughput first."""
    points = [(reduced[pk][0], reduced[pk][position]) for pk in candidates]
    return [
        candidates[index]
        for index in pareto_front(points, (Direction.MAXIMIZE, Direction.MINIMIZE))
    ]


def _front_point(results: TaskResults, pk: int) -> list[Any]:
    run = results.by_id[pk]
    numbers = results.reduced[pk]
    return [pk, run.number, results.role(run), run.outcome, results.settings[pk], *numbers]


def _front_summary(fronts: Mapping[str, Sequence[int]], candidates: int) -> str:
    counts = " and ".join(
        f"{len(front)} against {metric_label(name)}" for name, front in fronts.items()
    )
    return f"Of {counted(candidates, 'successful configuration')}, on the front are {counts}."


def _front_table(results: TaskResults, fronts: Mapping[str, Sequence[int]]) -> Table:
    """Those on a front first, then the others, by throughput."""
    on_some = {pk for front in fronts.values() for pk in front}
    order = sorted(results.reduced, key=lambda pk: (pk not in on_some, -results.reduced[pk][0]))
    columns = [
        Column("#"),
        *(Column(capitalised(metric_label(name))) for name in (THROUGHPUT, *FRONT_LATENCIES)),
        Column("On the front of", is_number=False),
        Column("Settings", is_number=False),
    ]
    return table(columns, order, lambda pk: _front_row(results, fronts, pk))


def _front_row(results: TaskResults, fronts: Mapping[str, Sequence[int]], pk: int) -> Row:
    run = results.by_id[pk]
    names = (THROUGHPUT, *FRONT_LATENCIES)
    numbers = (metric(name, value) for name, value in zip(names, results.reduced[pk], strict=True))
    on = ", ".join(metric_label(name) for name, front in fronts.items() if pk in front)
    cells = (str(run.number), *numbers, on or "-", results.settings[pk])
    return Row(cells, pk, results.role(run))
