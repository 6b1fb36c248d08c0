"""The end of `run_task` on a terminal: the table of experiments, the winner, how to start it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuning import formatting as formatted
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import METRICS, Direction
from tuning.domain.objectives import Objective
from tuning.models import Experiment
from tuning.reports import ExperimentRow, TaskReport
from tuning.terminal.console import print_plain
from tuning.verdicts import about

HEADINGS = {
    "output_throughput_tokens_per_s": "output tokens/s",
    "ttft_p50_s": "TTFT p50",
    "tpot_p50_s": "TPOT p50",
    "e2e_latency_p99_s": "E2E p99",
}
FAILED_MARK = "⚠"
"""Beside the value of an experiment in which requests failed."""

STATUS_STYLES = {
    ExperimentStatus.SUCCESS: "green",
    ExperimentStatus.FAILED: "red",
    ExperimentStatus.PRUNED: "yellow",
    ExperimentStatus.CANCELLED: "yellow",
}


def print_summary(console: Console, report: TaskReport) -> None:
    console.print(_table(report))
    if report.task.started_from:
        print_plain(console, report.task.started_from)
    for row in report.rows:
        _print_failure(console, row.experiment)
        _print_failed_requests(console, row.experiment)
    _print_front(console, report)
    _print_winner(console, report)
    print_plain(console, f"Log: {report.log_file}")


def _table(report: TaskReport) -> Table:
    objectives = {one.metric: one for one in report.spec.objectives}
    table = Table(title=f"Task {report.task.pk}: {report.task.name}", title_justify="left")
    table.add_column("#", justify="right")
    for flag in report.varying_flags:
        table.add_column(flag, justify="right")
    columns = list(dict.fromkeys((*objectives, *HEADINGS)))
    for name in columns:
        heading = HEADINGS.get(name, name)
        mark = _mark(objectives[name]) if name in objectives else ""
        table.add_column(heading + mark, justify="right")
    table.add_column("time", justify="right")
    table.add_column("status")
    for row in report.rows:
        table.add_row(*_cells(report, row, columns), style=_row_style(report, row.experiment))
    return table


def _cells(report: TaskReport, row: ExperimentRow, columns: list[str]) -> Iterator[str | Text]:
    experiment = row.experiment
    is_best = report.best is not None and experiment.pk == report.best.pk
    yield f"★ {experiment.number}" if is_best else str(experiment.number)
    for flag in report.varying_flags:
        missing = "default" if experiment.is_baseline else "-"
        value = experiment.parameters.get(flag)
        yield missing if value is None else formatted.flag_value(value)
    for name in columns:
        cell = _cell(name, row.metrics[name])
        is_marked = experiment.num_failed_requests and name == report.spec.objective.metric
        yield f"{cell} {FAILED_MARK}" if is_marked else cell
    yield formatted.duration(experiment.duration_s) if experiment.duration_s else "-"
    style = STATUS_STYLES.get(experiment.state, "")
    kind = f" ({experiment.failure_kind})" if experiment.failure_kind else ""
    yield Text(f"{experiment.status.lower()}{kind}{_role(experiment)}", style=style)


def _mark(objective: Objective) -> str:
    return " ▼" if objective.direction is Direction.MINIMIZE else " ▲"


def _role(experiment: Experiment) -> str:
    if experiment.is_baseline:
        return " (baseline)"
    if experiment.original is None:
        return ""
    return f" ({experiment.purpose} of {experiment.original.number}, round {experiment.round})"


def _cell(name: str, value: float | None) -> str:
    """Throughputs without their unit, which stands in the heading."""
    if value is not None and METRICS[name].unit == "tokens/s":
        return formatted.significant(value)
    return formatted.metric(name, value)


def _row_style(report: TaskReport, experiment: Experiment) -> str:
    return "bold" if report.best is not None and experiment.pk == report.best.pk else ""


def _print_failure(console: Console, experiment: Experiment) -> None:
    failure = experiment.failure
    if failure is None:
        return
    print_plain(console, f"Experiment {experiment.number} failed: {failure.message}")
    print_plain(console, f"  {failure.hint}")


def _print_failed_requests(console: Console, experiment: Experiment) -> None:
    failed = formatted.failed_requests(experiment.num_failed_requests, experiment.num_requests)
    if failed:
        print_plain(console, f"{FAILED_MARK} {experiment.title}: {failed}.")


def _print_front(console: Console, report: TaskReport) -> None:
    if not report.front:
        return
    console.print()
    print_plain(console, "Pareto front, of which the knee is suggested:")
    for member in report.front:
        values = ", ".join(formatted.metric(name, value) for name, value in member.values.items())
        knee = " (knee)" if member.is_knee else ""
        print_plain(console, f"  {member.experiment.title}{knee}: {values}")


def _print_winner(console: Console, report: TaskReport) -> None:
    best = report.best
    if best is None or best.objective_value is None:
        console.print(Text(f"No best configuration. {report.task.status_reason}", style="red"))
        return
    value = ", ".join(
        formatted.metric(one.metric, best.value_of(one.metric)) for one in report.spec.objectives
    )
    console.print()
    if best.is_baseline:
        console.print(Text(f"Best: the engine's own defaults, {value}.", style="bold green"))
    else:
        console.print(
            Text(
                f"Best: experiment {best.number}, {formatted.flags(best.parameters)}, {value}.",
                style="bold green",
            )
        )
        _print_gain(console, report, best)
    for verdict in report.verdicts:
        about = f"{formatted.metric_label(verdict.metric)}: " if len(report.verdicts) > 1 else ""
        print_plain(console, f"{about}{formatted.verdict_sentence(verdict)}")
    if report.task.status_reason:
        print_plain(console, report.task.status_reason)
    print_plain(console, "Start it with:")
    print_plain(console, f"  {shlex.join(best.command)}")


def _print_gain(console: Console, report: TaskReport, best: Experiment) -> None:
    baseline = report.baseline
    if baseline is None or baseline.objective_value is None or best.objective_value is None:
        print_plain(console, "The baseline was not measured, so the gain is not known.")
        return
    comparison = formatted.comparison(
        report.spec.objective, best.objective_value, baseline.objective_value
    )
    if any(one.is_verified for one in about(best, report.verdicts)):
        print_plain(console, f"In the search it was {comparison}.")
    else:
        print_plain(console, f"Gain: {formatted.gain(report.gain_over_baseline)}, {comparison}.")
