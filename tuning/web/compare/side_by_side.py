"""Tables with a column for each of what is compared, and what differs between task files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.domain.metrics import METRICS, Direction
from tuning.domain.slo import Slo
from tuning.domain.spec import TaskSpec
from tuning.formatting import flag_value, metric, metric_label, significant
from tuning.web.charts.chart import capitalised
from tuning.web.task_page import described

NOTHING = "-"
_TIMES = "\N{MULTIPLICATION SIGN}"

_NOT_COMPARED = ("task_name", "description")
"""Names and notes, which say nothing of what was measured."""


@dataclass(frozen=True)
class Cell:
    """`ratio` is the value relative to the first column's; `tone` marks better and worse."""

    text: str
    ratio: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Line:
    label: str
    cells: tuple[Cell, ...]
    is_number: bool = False

    @property
    def differs(self) -> bool:
        return len({cell.text for cell in self.cells}) > 1


@dataclass(frozen=True)
class Group:
    """Lines under a heading of their own, or under none."""

    lines: Sequence[Line]
    heading: str = ""


def text_line(label: str, texts: Iterable[str]) -> Line:
    return Line(label, tuple(Cell(text) for text in texts))


def metric_line(name: str, values: Sequence[float | None]) -> Line:
    """A metric of each, with the ratio to the first."""
    reference = values[0]
    direction = METRICS[name].direction
    cells = tuple(
        _metric_cell(name, value, reference if position else None, direction)
        for position, value in enumerate(values)
    )
    return Line(capitalised(metric_label(name)), cells, is_number=True)


def _metric_cell(
    name: str, value: float | None, reference: float | None, direction: Direction | None
) -> Cell:
    if value is None or not reference:
        return Cell(metric(name, value))
    # Equal to three digits is no difference to speak of.
    is_equal = significant(value) == significant(reference)
    tone = ""
    if direction is not None and not is_equal:
        tone = "good" if direction.prefers(value, reference) else "bad"
    return Cell(metric(name, value), f"{significant(value / reference)} {_TIMES}", tone)


def parameter_lines(configurations: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each flag that any of them sets."""
    names = dict.fromkeys(name for parameters in configurations for name in parameters)
    return [
        text_line(name, (flag_value(parameters.get(name)) for parameters in configurations))
        for name in names
    ]


def spec_lines(specs: Sequence[TaskSpec], *, without: Collection[str] = ()) -> list[Line]:
    """A line for each field of any of the task files, by its dotted path; sections together."""
    flat = [flattened(_document(spec, without)) for spec in specs]
    paths = list(dict.fromkeys(path for fields in flat for path in fields))
    sections = list(dict.fromkeys(map(_section, paths)))
    paths.sort(key=lambda path: sections.index(_section(path)))
    return [text_line(path, (fields.get(path, NOTHING) for fields in flat)) for path in paths]


def flattened(document: Mapping[str, Any]) -> dict[str, str]:
    """A document as text by dotted paths: `{"model": {"id_or_path": "x"}}` is `model.id_or_path`.

    A list is one field.
    """
    return {path: text for name, value in document.items() for path, text in _fields(name, value)}


def _document(spec: TaskSpec, without: Collection[str]) -> dict[str, Any]:
    """The task file, with parameters, objectives and SLOs as people write of them."""
    sections = {
        **spec.to_document(),
        "parameters": {name: described(one) for name, one in spec.parameters.items()},
        "slo": {slo.metric: _limit(slo) for slo in spec.slo},
    }
    sections["optimization"] = sections["optimization"] | {
        "objective": [f"{one.direction} {metric_label(one.metric)}" for one in spec.objectives]
    }
    left_out = {*_NOT_COMPARED, *without}
    return {name: section for name, section in sections.items() if name not in left_out}


def _limit(slo: Slo) -> str:
    plain = Slo(slo.metric, slo.max, slo.min)
    settings = {
        "fail ratio": (slo.fail_ratio, plain.fail_ratio),
        "weight": (slo.weight, plain.weight),
        "steepness": (slo.steepness, plain.steepness),
    }
    unusual = [f"{name} {value:g}" for name, (value, usual) in settings.items() if value != usual]
    limit = str(slo).removeprefix(f"{slo.metric} ")
    return ", ".join([limit, *([] if slo.hard else ["soft"]), *unusual])


def _section(path: str) -> str:
    return path.partition(".")[0]


def _fields(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        inner = (_fields(f"{path}.{name}", item) for name, item in value.items())
        return [field for fields in inner for field in fields]
    return [(path, _text(value))]


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return NOTHING
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return flag_value(value)


def warnings(specs: Sequence[TaskSpec]) -> list[str]:
    """Why the numbers may not be comparable."""
    found = []
    if len({spec.model.id_or_path for spec in specs}) > 1:
        found.append("The models differ, so a faster one need not be the better setting.")
    if len({spec.objectives for spec in specs}) > 1:
        found.append("The objectives differ: each best was chosen by another measure.")
    if len({_traffic(spec) for spec in specs}) > 1:
        found.append(
            "The traffic differs, and with it what latencies and throughputs mean. Compare only "
            "the same scenario at the same concurrency."
        )
    return found


def _traffic(spec: TaskSpec) -> tuple[frozenset[str], frozenset[int], str]:
    benchmark = spec.benchmark
    return (
        frozenset(benchmark.traffic_scenarios),
        frozenset(benchmark.num_concurrency),
        json.dumps(benchmark.additional_params, sort_keys=True),
    )
