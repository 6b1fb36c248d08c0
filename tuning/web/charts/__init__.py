"""The charts of a task: pure functions from what was read to what is drawn."""

from tuning.web.charts.chart import Chart
from tuning.web.charts.history import history_chart
from tuning.web.charts.objectives import front_chart, hypervolume_chart
from tuning.web.charts.parameters import importance_chart, parallel_chart
from tuning.web.charts.reading import TaskResults, read_results
from tuning.web.charts.timeline import timeline_chart
from tuning.web.charts.tradeoffs import curves_chart, pareto_chart

__all__ = ["Chart", "TaskResults", "charts_of", "read_results"]


def charts_of(results: TaskResults) -> list[Chart]:
    """In the order of the page; a task with several objectives has two more."""
    several = [front_chart(results), hypervolume_chart(results)]
    return [
        *(several if len(results.spec.objectives) > 1 else []),
        history_chart(results),
        curves_chart(results),
        pareto_chart(results),
        parallel_chart(results),
        importance_chart(results),
        timeline_chart(results),
    ]
