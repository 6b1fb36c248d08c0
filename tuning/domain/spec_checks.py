"""What can be wrong between two sections of a task file that are right by themselves.

The checks look at the document as it was written and use what of it can be read, so that a
mistake in one section never hides one in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuning.domain.cluster_names import namespace_fault
from tuning.domain.constraint_text import ConstraintError
from tuning.domain.constraints import (
    ANY_KIND,
    Constraint,
    kinds_of,
    parse_constraint,
)
from tuning.domain.names import DeploymentMode
from tuning.domain.parameters import Parameter
from tuning.domain.space import ConstraintsTooTight, ParameterSpace
from tuning.domain.spec_errors import Problem, shown
from tuning.domain.spec_goodput import goodput_problems
from tuning.domain.spec_parameters import Declaration, declarations_in
from tuning.domain.spec_repeats import AUTO
from tuning.domain.spec_warm_start import warm_start_problems

GRID_SEARCH = "grid_search"


def read_constraints(texts: Iterable[str], parameters: Mapping[str, Parameter]) -> list[Constraint]:
    """The constraints of a task file that was found to be right."""
    kinds = {name: kinds_of(parameter) for name, parameter in parameters.items()}
    return [parse_constraint(text, kinds) for text in texts]


def problems_between_sections(document: Mapping[str, Any]) -> list[Problem]:
    """All problems that no section shows by itself."""
    parameters = document.get("parameters")
    declarations = list(declarations_in(parameters)) if isinstance(parameters, Mapping) else []
    problems = [*_constraint_problems(document.get("constraints"), declarations)]
    if _strategy(document) == GRID_SEARCH:
        problems += _continuous_problems(declarations)
    return [
        *problems,
        *goodput_problems(document),
        *_namespace_problems(document),
        *_repeats_problems(document),
        *warm_start_problems(document, _strategy(document)),
    ]


def nothing_left(space: ParameterSpace) -> list[Problem]:
    """The problem that the constraints allow no configuration at all, when that can be told."""
    if space.size is None or not space.constraints:
        return []
    try:
        if next(space.configurations(), None) is not None:
            return []
        message = "allow none of the configurations; loosen one of them"
    except ConstraintsTooTight as error:
        message = str(error)
    texts = [constraint.text for constraint in space.constraints]
    return [Problem(("constraints",), message, shown(texts))]


def _constraint_problems(texts: object, declarations: list[Declaration]) -> Iterator[Problem]:
    kinds = {
        entry.name: kinds_of(entry.parameter) if entry.parameter else ANY_KIND
        for entry in declarations
    }
    for index, text in enumerate(texts if isinstance(texts, list | tuple) else ()):
        if not isinstance(text, str):
            continue
        try:
            parse_constraint(text, kinds)
        except ConstraintError as error:
            yield Problem(("constraints", index), str(error), shown(text))


def _strategy(document: Mapping[str, Any]) -> object:
    optimization = document.get("optimization", {})
    if not isinstance(optimization, Mapping):
        return None
    return optimization.get("strategy", GRID_SEARCH)


def _continuous_problems(declarations: list[Declaration]) -> Iterator[Problem]:
    for entry in declarations:
        if entry.parameter is not None and entry.parameter.cardinality is None:
            yield Problem(
                ("parameters", entry.key),
                "is continuous, which grid_search can't enumerate; give it a step, "
                'or set optimization.strategy to "random"',
            )


def _namespace_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Other deployment modes never use it, so that whatever stands there does no harm."""
    namespace = _field(document, "model", "namespace")
    if document.get("deployment_mode", DeploymentMode.OME) != DeploymentMode.OME:
        return
    if isinstance(namespace, str) and (fault := namespace_fault(namespace.strip())):
        yield Problem(("model", "namespace"), fault, shown(namespace))


def _repeats_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    objective = _field(document, "optimization", "objective")
    repeats = _field(document, "benchmark", "repeats")
    if repeats == AUTO and isinstance(objective, list | tuple):
        yield Problem(
            ("benchmark", "repeats"),
            "must be a number where there are several objectives: no single one is the best, "
            "so none is worth more launches than the others",
            shown(repeats),
        )


def _field(document: Mapping[str, Any], section: str, name: str) -> object:
    fields = document.get(section)
    return fields.get(name) if isinstance(fields, Mapping) else None
