"""A task and its results as files: for programs, for reports, and for deploying the winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tuning.exports.csv_table import results_as_csv
from tuning.exports.export import Export, ExportFormat, filename
from tuning.exports.html_report import results_as_html
from tuning.exports.results import results_as_json, results_as_yaml
from tuning.exports.task_file import task_as_json, task_as_yaml
from tuning.exports.winner import NoWinner
from tuning.exports.winner_files import WinnerFile, export_winner
from tuning.models import Task

__all__ = ["EXPORTS", "Export", "ExportFormat", "NoWinner", "export_results", "filename"]

_RESULTS: Mapping[ExportFormat, Callable[[Task], Export]] = {
    ExportFormat.JSON: results_as_json,
    ExportFormat.CSV: results_as_csv,
    ExportFormat.YAML: results_as_yaml,
    ExportFormat.HTML: results_as_html,
}


def export_results(task: Task, form: ExportFormat) -> Export:
    """The task with everything that was measured."""
    return _RESULTS[form](task)


EXPORTS: Mapping[str, Callable[[Task], Export]] = {
    **{form.value: partial(export_results, form=form) for form in ExportFormat},
    "task-json": task_as_json,
    "task-yaml": task_as_yaml,
    **{file.value: partial(export_winner, file=file) for file in WinnerFile},
}
"""Everything that can be downloaded of a task. Those of the winner raise NoWinner without one."""
