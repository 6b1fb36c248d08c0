"""Which settings lead to which results: parallel coordinates and importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuning.domain.importance import Effect, Group, main_effects
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, FloatRange, IntRange
from tuning.formatting import flag_value, metric, metric_label
from tuning.web.charts.chart import Chart, Column, Row, Table, capitalised, counted, measure, table
from tuning.web.charts.history import is_measured
from tuning.web.charts.reading import Run, TaskResults

ENOUGH_FOR_IMPORTANCE = 8
"""With fewer measured experiments, chance decides more than the flags do."""

MOST_LINES = 300
"""More lines hide each other."""


def parallel_chart(results: TaskResults) -> Chart:
    label = metric_label(results.objective.metric)
    chart = Chart(
        key="parallel",
        kind="parallel",
        title="Parallel coordinates",
        reading=f"Each line is one configuration, through its settings to its {label}: the more "
        "orange, the better; grey ones have no value. Drag along an axis to keep a part of it.",
    )
    if not results.tuned:
        return replace(chart, nothing="No flag of this task varies.")
    runs = [run for run in results.runs if _is_drawn(run) and _sets_all(run, results.tuned)]
    if not runs:
        return replace(chart, nothing="No configuration beside the baseline has ended yet.")
    maximize = results.objective.direction is Direction.MAXIMIZE
    ranked = sorted(runs, key=lambda run: _rank(run, maximize=maximize))
    drawn = ranked[:MOST_LINES]
    without = sum(not is_measured(run) for run in drawn)
    return replace(
        chart,
        summary=f"{counted(len(drawn), 'configuration')} over "
        f"{counted(len(results.tuned), 'flag')}, {without} of them without a value.",
        data=_lines(results, drawn),
        table=_parallel_table(results, drawn, label),
        notes=_line_notes(len(drawn), len(runs)),
    )


def _is_drawn(run: Run) -> bool:
    was_stopped = run.status == ExperimentStatus.PRUNED
    return is_measured(run) or bool(run.failure_kind) or was_stopped


def _sets_all(run: Run, flags: Sequence[str]) -> bool:
    """The baseline sets none, so that it has no place on the axes."""
    return all(flag in run.parameters for flag in flags)


def _rank(run: Run, *, maximize: bool) -> tuple[bool, float]:
    value = run.objective_value or 0.0
    return not is_measured(run), -value if maximize else value


def _line_notes(drawn: int, ended: int) -> tuple[str, ...]:
    if drawn == ended:
        return ()
    return (f"The best {drawn} of {ended:,} configurations are drawn.",)


def _lines(results: TaskResults, runs: Sequence[Run]) -> dict[str, Any]:
    axes = [_axis(results, flag, runs) for flag in results.tuned]
    return {
        "measure": measure(results.objective.metric),
        "direction": results.objective.direction.value,
        "axes": axes,
        "lines": [
            {
                "id": run.pk,
                "number": run.number,
                "role": results.role(run),
                "outcome": run.outcome,
                "settings": [_coordinate(run.parameters[axis["flag"]], axis) for axis in axes],
                "value": run.objective_value if is_measured(run) else None,
            }
            for run in runs
        ],
    }


def _axis(results: TaskResults, flag: str, runs: Sequence[Run]) -> dict[str, Any]:
    """A range is an axis of numbers, a list of choices one of categories."""
    parameter = results.spec.parameters[flag]
    if isinstance(parameter, IntRange | FloatRange):
        return {"flag": flag, "type": "log" if parameter.log else "value"}
    options = parameter.options if isinstance(parameter, Choices) else ()
    names = map(flag_value, (*options, *(run.parameters[flag] for run in runs)))
    return {"flag": flag, "type": "category", "values": list(dict.fromkeys(names))}


def _coordinate(value: FlagValue, axis: Mapping[str, Any]) -> FlagValue:
    return flag_value(value) if axis["type"] == "category" else value


def _parallel_table(results: TaskResults, runs: Sequence[Run], label: str) -> Table:
    columns = [
        Column("#"),
        *(Column(flag) for flag in results.tuned),
        Column(capitalised(label)),
        Column("Outcome", is_number=False),
    ]
    return table(columns, runs, lambda run: _parallel_row(results, run))


def _parallel_row(results: TaskResults, run: Run) -> Row:
    value = run.objective_value if is_measured(run) else None
    settings = (flag_value(run.parameters[flag]) for flag in results.tuned)
    cells = (str(run.number), *settings, metric(results.objective.metric, value), run.outcome)
    return Row(cells, run.pk, results.role(run))


def importance_chart(results: TaskResults) -> Chart:
    label = metric_label(results.objective.metric)
    chart = Chart(
        key="importance",
        kind="importance",
        title="Parameter importance",
        reading=f"How much of the variance of {label} each flag explains by itself, corrected for "
        "chance, with its 95 % confidence interval. A flag whose interval begins at 0 is called "
        "flat. What flags only do together is in no bar, so the bars need not add up to 100 %.",
    )
    if not results.tuned:
        return replace(chart, nothing="No flag of this task varies.")
    measured = [
        (run.parameters, run.objective_value)
        for run in results.runs
        if is_measured(run) and run.objective_value is not None and not run.is_baseline
    ]
    effects = main_effects(measured, results.tuned)
    if all(effect.share is None for effect in effects):
        return replace(chart, nothing=_too_few(len(measured)))
    known = [effect for effect in effects if effect.share is not None]
    return replace(
        chart,
        summary="; ".join(f"{effect.flag} {_said(effect)}" for effect in known) + ".",
        data={
            "flags": [
                {
                    "flag": effect.flag,
                    "share": effect.share,
                    "low": effect.low,
                    "high": effect.high,
                    "flat": effect.is_flat,
                    "groups": _groups(results, effect),
                }
                for effect in known
            ]
        },
        table=_importance_table(results, effects, label),
        notes=tuple(_importance_notes(len(measured), known)),
    )


def _too_few(measured: int) -> str:
    return (
        f"{counted(measured, 'configuration')} measured beside the baseline: too few to tell "
        "one flag's effect from another's."
    )


def _importance_notes(measured: int, effects: Sequence[Effect]) -> list[str]:
    notes = []
    if measured < ENOUGH_FOR_IMPORTANCE:
        notes.append(
            f"Only {counted(measured, 'experiment')} measured: take this as a hint, no more."
        )
    flat = [effect.flag for effect in effects if effect.is_flat]
    if flat and len(flat) == len(effects):
        notes.append("No flag makes a difference that chance could not make, too.")
    elif flat:
        notes.append(f"Flat, as far as can be told: {', '.join(flat)}.")
    return notes


def _groups(results: TaskResults, effect: Effect) -> list[str]:
    return [
        f"{group_label(group)}: {metric(results.objective.metric, group.mean)}"
        for group in effect.groups
    ]


def group_label(group: Group) -> str:
    """The value, or the range of values, that a group of experiments has."""
    if len(group.values) == 1:
        return flag_value(group.values[0])
    return f"{flag_value(group.values[0])} to {flag_value(group.values[-1])}"


def _importance_table(results: TaskResults, effects: Sequence[Effect], label: str) -> Table:
    columns = [
        Column("Flag", is_number=False),
        Column("Share of variance"),
        Column("95 % interval"),
        Column("Finding", is_number=False),
        Column("Experiments"),
        Column("Best values", is_number=False),
        Column(f"Mean {label} there"),
    ]
    return table(columns, effects, lambda effect: _importance_row(results, effect))


def _importance_row(results: TaskResults, effect: Effect) -> Row:
    best = _best_group(effect.groups, results.objective.direction)
    return Row(
        (
            effect.flag,
            "unknown" if effect.share is None else _percent(effect.share),
            "-" if effect.low is None else f"{_percent(effect.low)} to {_percent(effect.high)}",
            _finding(effect),
            str(effect.count),
            "-" if best is None else group_label(best),
            metric(results.objective.metric, None if best is None else best.mean),
        )
    )


def _best_group(groups: Sequence[Group], direction: Direction) -> Group | None:
    if not groups:
        return None
    pick = max if direction is Direction.MAXIMIZE else min
    return pick(groups, key=lambda group: group.mean)


def _finding(effect: Effect) -> str:
    if effect.share is None:
        return "nothing can be said"
    return "flat" if effect.is_flat else "has an effect"


def _said(effect: Effect) -> str:
    return f"{_percent(effect.share)}{' (flat)' if effect.is_flat else ''}"


def _percent(share: float | None) -> str:
    return f"{(share or 0.0) * 100:.0f} %"
