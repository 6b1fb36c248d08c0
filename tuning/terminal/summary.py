"""The end of `run_task` on a terminal: the table of experiments, the winner, how to start it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuning import formatting as formatted
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import METRICS
from tuning.models import Experiment
from tuning.reports import ExperimentRow, TaskReport
from tuning.terminal.console import print_plain

HEADINGS = {
    "output_throughput_tokens_per_s": "output tokens/s",
    "ttft_p50_s": "TTFT p50",
    "tpot_p50_s": "TPOT p50",
    "e2e_latency_p99_s": "E2E p99",
}
STATUS_STYLES = {
    ExperimentStatus.SUCCESS: "green",
    ExperimentStatus.FAILED: "red",
    ExperimentStatus.PRUNED: "yellow",
    ExperimentStatus.CANCELLED: "yellow",
}


def print_summary(console: Console, report: TaskReport) -> None:
    console.print(_table(report))
    for row in report.rows:
        _print_failure(console, row.experiment)
    _print_winner(console, report)
    print_plain(console, f"Log: {report.log_file}")


def _table(report: TaskReport) -> Table:
    objective = report.spec.objective
    table = Table(title=f"Task {report.task.pk}: {report.task.name}", title_justify="left")
    table.add_column("#", justify="right")
    for flag in report.varying_flags:
        table.add_column(flag, justify="right")
    columns = list(dict.fromkeys((objective.metric, *HEADINGS)))
    for name in columns:
        heading = HEADINGS.get(name, name)
        mark = " ▼" if objective.direction == "minimize" else " ▲"
        table.add_column(heading + (mark if name == objective.metric else ""), justify="right")
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
        yield _cell(name, row.metrics[name])
    yield formatted.duration(experiment.duration_s) if experiment.duration_s else "-"
    style = STATUS_STYLES.get(experiment.state, "")
    kind = f" ({experiment.failure_kind})" if experiment.failure_kind else ""
    baseline = " (baseline)" if experiment.is_baseline else ""
    yield Text(f"{experiment.status.lower()}{kind}{baseline}", style=style)


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


def _print_winner(console: Console, report: TaskReport) -> None:
    best, objective = report.best, report.spec.objective
    if best is None or best.objective_value is None:
        console.print(Text(f"No best configuration. {report.task.status_reason}", style="red"))
        return
    value = formatted.metric(objective.metric, best.objective_value)
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
    print_plain(console, f"Gain: {formatted.gain(report.gain_over_baseline)}, {comparison}.")
