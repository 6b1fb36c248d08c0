"""Constraints between flags, such as `tp-size * dp-size <= 8`.

The language has flag names, numbers, texts in quotes, `true` and `false`, `+ - * / // %`,
comparisons (also chained), `and`, `or`, `not`, `in` and `not in` over lists, and parentheses. It
means what Python means by it, a boolean counting as 0 or 1. A constraint is parsed with `ast` and
walked by the functions below: it is never compiled nor run by Python.

What can be known to be wrong beforehand (an unknown name, a text compared with a number, a sum
with a text) is an error. Where only some values of a flag make an operation impossible, such as
`"auto" <= 8` or a division by zero, the constraint is not satisfied by these values.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any

from tuning.domain.constraint_text import ConstraintError, placeholder, rewrite
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Configuration, Fixed, Parameter

MAX_DEPTH = 60
"""How deep an expression may be nested. A sum of n terms is n deep."""


class Kind(Enum):
    """What an expression can give. Booleans are numbers, as in Python."""

    NUMBER = "number"
    TEXT = "text"


Kinds = frozenset[Kind]

_NUMBER: Kinds = frozenset({Kind.NUMBER})
ANY_KIND: Kinds = frozenset(Kind)


class _NotComputable(Exception):
    """The values of this configuration make an operation impossible."""


@dataclass(frozen=True)
class Constraint:
    """One condition on a configuration. Two constraints are equal when their texts are."""

    text: str
    names: tuple[str, ...] = field(compare=False)
    """The flags it speaks of, in the order of the parameters."""
    _expression: ast.expr = field(compare=False, repr=False)
    _flags: Mapping[str, str] = field(compare=False, repr=False)

    def is_satisfied_by(self, configuration: Configuration) -> bool:
        """Whether the configuration may be tried.

        A configuration without one of the flags (the baseline) satisfies the constraint: what the
        engine uses instead is not known here.
        """
        if not all(name in configuration for name in self.names):
            return True
        values = {key: configuration[name] for key, name in self._flags.items()}
        try:
            return bool(_evaluate(self._expression, values))
        except (_NotComputable, ArithmeticError):
            return False


def kinds_of(parameter: Parameter) -> Kinds:
    """The kinds of value that a parameter can take."""
    match parameter:
        case Fixed(value):
            return frozenset({_kind_of(value)})
        case Choices(options):
            return frozenset(_kind_of(option) for option in options)
        case _:
            return _NUMBER


def parse_constraint(text: str, flags: Mapping[str, Kinds]) -> Constraint:
    """Read a constraint over the given flags.

    Raises:
        ConstraintError: the text is not in the language, names an unknown flag, or does something
            that no value of the flags allows. Its text is the end of a sentence that begins with
            the constraint's place.
    """
    expression = _parse(rewrite(text, flags))
    names = {placeholder(index): name for index, name in enumerate(flags)}
    used = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    used_names = {key: name for key, name in names.items() if key in used}
    _refuse_unless_condition(expression)
    _refuse_deep(expression)
    _kinds(expression, {key: flags[name] for key, name in used_names.items()})
    if not used_names:
        raise ConstraintError("speaks of no parameter")
    return Constraint(text, tuple(used_names.values()), expression, used_names)


def _parse(source: str) -> ast.expr:
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConstraintError(
            'is not a condition; write for example "tp-size * dp-size <= 8"'
        ) from None


def _refuse_unless_condition(expression: ast.expr) -> None:
    match expression:
        case ast.Compare() | ast.BoolOp() | ast.Name() | ast.UnaryOp(op=ast.Not()):
            return
        case _:
            raise ConstraintError("is neither true nor false; compare it with something")


def _refuse_deep(expression: ast.expr) -> None:
    level: list[ast.AST] = [expression]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ConstraintError(f"is nested deeper than {MAX_DEPTH} levels")


# What an expression can give, found out before any value is known.


def _kinds(node: ast.expr, flags: Mapping[str, Kinds]) -> Kinds:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return frozenset({_kind_of(value)})
        case ast.Name(id=key):
            return flags[key]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _kinds(operand, flags)
            return _NUMBER
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _number_from([operand], "-", flags)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _number_from([left, right], _SIGNS[type(op)], flags)
        case ast.BoolOp(values=values):
            return _union(_kinds(value, flags) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for comparison, pair in zip(ops, pairwise([left, *comparators]), strict=True):
                _check_comparison(comparison, *pair, flags)
            return _NUMBER
        case ast.List() | ast.Tuple():
            raise ConstraintError('has a list outside "in" and "not in"')
        case _:
            raise ConstraintError("has something that constraints do not offer")


def _number_from(operands: list[ast.expr], sign: str, flags: Mapping[str, Kinds]) -> Kinds:
    for operand in operands:
        if Kind.NUMBER not in _kinds(operand, flags):
            raise ConstraintError(f'computes with a text; "{sign}" takes numbers')
    return _NUMBER


def _check_comparison(
    op: ast.cmpop, left: ast.expr, right: ast.expr, flags: Mapping[str, Kinds]
) -> None:
    left_kinds = _kinds(left, flags)
    if isinstance(op, ast.In | ast.NotIn):
        for element in _elements(right):
            _refuse_unlike(left_kinds, _kinds(element, flags))
    elif type(op) in _COMPARISONS:
        _refuse_unlike(left_kinds, _kinds(right, flags))
    else:
        raise ConstraintError("has a comparison that constraints do not offer")


def _elements(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.List | ast.Tuple):
        return node.elts
    raise ConstraintError('needs a list behind "in", such as [1, 2, 4]')


def _refuse_unlike(left: Kinds, right: Kinds) -> None:
    if not left & right:
        raise ConstraintError("compares a number with a text; they are never equal")


def _kind_of(value: FlagValue) -> Kind:
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def _union(kinds: Iterable[Kinds]) -> Kinds:
    return frozenset().union(*kinds)


# What an expression gives for the values of one configuration.

_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

_SIGNS: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}

_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    **_ORDER,
}


def _evaluate(node: ast.expr, values: Mapping[str, FlagValue]) -> FlagValue:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=key):
            return values[key]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, values)
        case ast.UnaryOp(operand=operand):
            return -_as_number(_evaluate(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            first = _as_number(_evaluate(left, values))
            return _ARITHMETIC[type(op)](first, _as_number(_evaluate(right, values)))
        case ast.BoolOp(op=op, values=operands):
            return _first_deciding(operands, isinstance(op, ast.Or), values)
        case ast.Compare():
            return all(_comparisons(node, values))
        case _:
            raise AssertionError(f"{type(node).__name__} got past the check")


def _first_deciding(
    operands: list[ast.expr], deciding: bool, values: Mapping[str, FlagValue]
) -> FlagValue:
    """The first operand whose truth decides an `and` or an `or`, else the last one."""
    for operand in operands[:-1]:
        value = _evaluate(operand, values)
        if bool(value) is deciding:
            return value
    return _evaluate(operands[-1], values)


def _comparisons(node: ast.Compare, values: Mapping[str, FlagValue]) -> Iterator[bool]:
    left = _evaluate(node.left, values)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            listed = [_evaluate(element, values) for element in _elements(comparator)]
            yield (left in listed) is isinstance(op, ast.In)
        else:
            right = _evaluate(comparator, values)
            if type(op) in _ORDER and _kind_of(left) is not _kind_of(right):
                raise _NotComputable
            yield _COMPARISONS[type(op)](left, right)
            left = right


def _as_number(value: FlagValue) -> int | float:
    if isinstance(value, str):
        raise _NotComputable
    return value
