"""The report as one HTML file that needs nothing else: to send to a colleague."""

from __future__ import annotations

from django.template.loader import render_to_string
from django.utils import timezone

from tuning.exports.export import Export, filename
from tuning.exports.winner import NoWinner, Winner, read_winner
from tuning.exports.winner_files import snippets
from tuning.models import Experiment, Task
from tuning.reports import TaskReport, headline_names, task_report


def results_as_html(task: Task) -> Export:
    report = task_report(task)
    winner = _winner(task)
    context = {
        "task": task,
        "report": report,
        "spec": report.spec,
        "made_at": timezone.now(),
        "metrics": headline_names(*report.spec.objectives),
        "winner": winner,
        "values": _values(report, winner) if winner else [],
        "snippets": list(snippets(winner)) if winner else [],
        "environment": _environment(report, winner),
    }
    text = render_to_string("exports/report.html", context)
    return Export(text, "text/html; charset=utf-8", filename(task, "report", "html"))


def _winner(task: Task) -> Winner | None:
    try:
        return read_winner(task)
    except NoWinner:
        return None


def _values(report: TaskReport, winner: Winner) -> list[tuple[str, float | None]]:
    metrics = [objective.metric for objective in report.spec.objectives]
    return [(metric, winner.experiment.value_of(metric)) for metric in metrics]


def _environment(report: TaskReport, winner: Winner | None) -> dict[str, object]:
    """That of the winner, else of the first experiment that has told any."""
    experiments: list[Experiment] = [row.experiment for row in report.rows]
    known = [winner.experiment] if winner else [one for one in experiments if one.environment]
    return dict(known[0].environment) if known else {}
