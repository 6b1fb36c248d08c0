"""Which earlier tasks a search starts from: `optimization.warm_start`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from tuning.domain.spec_errors import InvalidSection, Problem, not_a_number, shown

WARM_START_PATH = ("optimization", "warm_start")
STRATEGIES_THAT_LEARN_NOTHING = ("grid_search", "random")

MOST_NAMED = 20
_LARGEST_NUMBER = 2**63 - 1


def warm_start_problems(document: Mapping[str, Any], strategy: object) -> Iterator[Problem]:
    """An earlier task for a strategy that would not look at it. `strategy` is the task's."""
    optimization = document.get("optimization")
    wanted = optimization.get("warm_start") if isinstance(optimization, Mapping) else None
    if wanted and strategy in STRATEGIES_THAT_LEARN_NOTHING:
        yield Problem(
            WARM_START_PATH,
            f"must be false for {strategy}, which learns nothing from results; set "
            'optimization.strategy to "bayesian"',
            shown(wanted),
        )


def _warm_start(value: object) -> Any:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple):
        raise ValueError("must be true, false, or a list of task numbers such as [12, 14]")
    if not value:
        raise ValueError("must name a task at least; false starts from none")
    problems = [*_wrong_numbers(value)]
    if len(value) > MOST_NAMED:
        problems.append(Problem((), f"must name at most {MOST_NAMED} tasks", shown(value)))
    if problems:
        raise InvalidSection(problems)
    return tuple(value)


def _wrong_numbers(numbers: Sequence[object]) -> Iterator[Problem]:
    places: dict[int, int] = {}
    for index, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, int):
            yield Problem((index,), not_a_number(number, "the number of a task"), shown(number))
        elif number < 1:
            yield Problem((index,), "must be the number of a task, from 1", shown(number))
        elif places.setdefault(number, index) < index:
            yield Problem((index,), "is there twice; keep one", shown(number))


def _written(warm_start: bool | tuple[int, ...]) -> bool | list[int]:
    return warm_start if isinstance(warm_start, bool) else list(warm_start)


WarmStart = Annotated[
    bool | tuple[int, ...],
    PlainValidator(_warm_start),
    PlainSerializer(_written),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1, "maximum": _LARGEST_NUMBER},
                    "minItems": 1,
                    "maxItems": MOST_NAMED,
                    "uniqueItems": True,
                    "description": "Numbers of the tasks to start from.",
                },
            ]
        }
    ),
]
