"""What the engine's flag catalogue says of a whole task, before anything is launched.

`with_right_flags` also asks what `gpu_findings` and `measuring_findings` say: all of them refuse a
task that can't succeed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.conf import settings

from controllers.engines.base import Engine
from controllers.engines.catalogue import engine as engine_called
from controllers.engines.flag_rules import FlagProblem
from tuning.domain.counting import extent_of
from tuning.domain.names import EngineName, FlagValue
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.spec import InvalidTask, Problem, TaskSpec
from tuning.domain.spec_errors import Location, shown
from tuning.gpu_findings import gpu_findings, hosts_for
from tuning.measuring_findings import measuring_findings

_MOST_COMBINATIONS = 1_000
"""Of the flags of one rule: as many are looked at."""
_MOST_SAID = 100


def engine_of(name: EngineName) -> Engine:
    """The engine as the settings have it."""
    return _engine(name, settings.AUTOTUNER_LLAMA_SERVER, settings.AUTOTUNER_ALLOWED_FLAGS)


@functools.cache
def _engine(
    name: EngineName, llama_server_binary: str | None, allowed_flags: tuple[str, ...]
) -> Engine:
    return engine_called(name, llama_server_binary, allowed_flags)


def with_right_flags(spec: TaskSpec) -> TaskSpec:
    """The task itself, if its flags are ones that its engine can be started with.

    Raises:
        InvalidTask: they are not.
    """
    engine, hosts = engine_of(spec.base_runtime), hosts_for(spec)
    problems = (
        flag_problems(spec, engine, hosts.most_gpus) or gpu_findings(spec, engine, hosts).problems
    )
    problems = (*problems, *measuring_findings(spec).problems)
    if problems:
        raise InvalidTask(problems)
    return spec


def flag_problems(spec: TaskSpec, engine: Engine, gpus: int | None = None) -> tuple[Problem, ...]:
    """What keeps every experiment from being launched.

    `gpus` is how many the largest host has; where there is none, rules on it are not applied.
    """
    found = [
        problem
        for name, parameter in spec.parameters.items()
        for problem in _problems_of(engine, name, parameter)
    ]
    for broken in _broken_rules(spec, engine, gpus):
        if broken.by_every_experiment:
            found.append(
                Problem(
                    ("parameters", broken.first.flags[0]),
                    f"breaks a rule of {engine.name}, whatever the values are: "
                    f"{broken.first.message}",
                )
            )
    return tuple(found)


def flag_warnings(spec: TaskSpec, engine: Engine, gpus: int | None = None) -> Iterator[str]:
    """What keeps some experiments from being launched, and what may be meant otherwise.

    `gpus` is as for `flag_problems`.
    """
    for unknown in islice(engine.catalogue.unknown(spec.parameters), _MOST_SAID):
        hint = f'did you mean "{unknown.nearest}"?' if unknown.nearest else "check its spelling"
        known = f"the flags of {engine.name} that are explained here"
        yield f"{unknown.name} is none of {known}; {hint}"
    for name, parameter in islice(spec.parameters.items(), _MOST_SAID):
        wrong = list(_wrong_values(engine, name, parameter))
        if len(wrong) < len(list(_looked_at(parameter))):
            yield from (f"{problem}; its experiments would be refused" for problem in wrong)
        for _, value in _looked_at(parameter):
            for doubt in engine.catalogue.doubts({name: value}):
                yield doubt.message
    for broken in _broken_rules(spec, engine, gpus):
        if not broken.by_every_experiment:
            yield (
                f"{broken.count:,} of {broken.looked_at:,} combinations of "
                f"{', '.join(broken.first.flags)} that were looked at break a rule of "
                f"{engine.name} and would be refused: {broken.first.message} "
                "A constraint saves their experiments."
            )


def _problems_of(engine: Engine, name: str, parameter: Parameter) -> Iterator[Problem]:
    """A flag that may not be set, and one of which every value is wrong."""
    looked_at = list(_looked_at(parameter))
    refusals = (engine.flag_refusal(name, value) for _, value in looked_at)
    refusal = next((text for text in refusals if text), None)
    if refusal:
        yield Problem(("parameters", name), refusal)
        return
    wrong = list(_wrong_values(engine, name, parameter))
    if len(wrong) == len(looked_at):
        yield from wrong


def _wrong_values(engine: Engine, name: str, parameter: Parameter) -> Iterator[Problem]:
    for place, value in _looked_at(parameter):
        text = engine.catalogue.value_refusal(name, value)
        if text:
            yield Problem(("parameters", name, *place), text, shown(value))


def _looked_at(parameter: Parameter) -> Iterator[tuple[Location, FlagValue]]:
    """Each value of a list, and the two ends of a range: a wrong one among them is the worst."""
    match parameter:
        case Fixed(value):
            yield (), value
        case Choices(options):
            yield from (((index,), option) for index, option in enumerate(options))
        case IntRange() | FloatRange():
            count = parameter.cardinality
            yield ("low",), parameter.low
            yield ("high",), parameter.high if count is None else parameter.value_at(count - 1)


@dataclass(frozen=True)
class _BrokenRule:
    """A rule that `count` of the combinations `looked_at` break."""

    first: FlagProblem
    count: int
    looked_at: int
    by_every_experiment: bool


def _broken_rules(spec: TaskSpec, engine: Engine, gpus: int | None) -> Iterator[_BrokenRule]:
    catalogue = engine.catalogue
    canonical = {name: known[0].name for name in spec.parameters if (known := catalogue.find(name))}
    for rule in catalogue.rules:
        involved = [name for name, flag in canonical.items() if flag in rule.constraint.names]
        if not involved:
            continue
        combinations = extent_of(spec.space(), involved).watched[:_MOST_COMBINATIONS]
        broken = [
            problem
            for combination in combinations
            for problem in catalogue.broken((rule,), combination, gpus)
        ]
        if broken:
            # Of ranges only the ends are looked at, and between them other values may be right.
            is_listed = all(isinstance(spec.parameters[name], Fixed | Choices) for name in involved)
            every = is_listed and len(broken) == len(combinations) < _MOST_COMBINATIONS
            yield _BrokenRule(broken[0], len(broken), len(combinations), every)
