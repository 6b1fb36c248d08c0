"""The constraint language: what it means, what it refuses, and that it never does anything else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuning.domain.constraint_text import MAX_LENGTH, ConstraintError
from tuning.domain.constraints import ANY_KIND, Constraint, kinds_of, parse_constraint
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Fixed, IntRange, Parameter

FLAGS: dict[str, Parameter] = {
    "tp-size": Choices((1, 2, 4)),
    "tp": Fixed(3),
    "dp-size": IntRange(1, 8),
    "attention-backend": Choices(("fa3", "triton")),
    "radix": Choices((True, False)),
    "mixed": Choices((1, "auto")),
}
KINDS = {name: kinds_of(parameter) for name, parameter in FLAGS.items()}

VALUES: dict[str, FlagValue] = {
    "tp-size": 2,
    "tp": 3,
    "dp-size": 4,
    "attention-backend": "fa3",
    "radix": True,
    "mixed": "auto",
}


def parsed(text: str) -> Constraint:
    return parse_constraint(text, KINDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tp-size * dp-size <= 8", True),
        ("tp_size*dp_size<8", False),
        ("tp-size-1 == 1", True),
        ("dp-size-tp-size == 2", True),
        ("tp - 1 == 2", True),
        ("1 < tp-size <= dp-size < 5", True),
        ("1 < tp-size < 2", False),
        ("dp-size % tp-size == 0 and dp-size // tp-size == 2", True),
        ("dp-size / 8 == 0.5", True),
        ("-tp-size < 0", True),
        ("not (tp-size == 2)", False),
        ("not radix", False),
        ("radix", True),
        ("radix == true", True),
        ("radix + (tp-size == 2) == 2", True),
        ("attention-backend == 'fa3' or tp-size > 9", True),
        ('attention-backend in ["triton", "tp-size"]', False),
        ("tp-size not in (1, 4)", True),
        ("tp-size in (2,)", True),
        ("dp-size >= 1e0", True),
        ("mixed == 'auto' or mixed <= 8", True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    assert parsed(text).is_satisfied_by(VALUES) is expected


@pytest.mark.parametrize("text", ["tp-size / (dp-size - 4) >= 0", "tp-size % 0 == 0", "mixed <= 8"])
def test_what_can_not_be_computed_is_not_satisfied(text: str) -> None:
    assert parsed(text).is_satisfied_by(VALUES) is False


def test_the_baseline_has_none_of_the_flags_and_satisfies_all() -> None:
    constraint = parsed("tp-size > 100")
    assert constraint.is_satisfied_by({})
    assert constraint.is_satisfied_by({"dp-size": 1})
    assert not constraint.is_satisfied_by({"tp-size": 1})


def test_a_constraint_knows_its_flags() -> None:
    assert parsed("dp-size * tp-size < 9").names == ("tp-size", "dp-size")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tp-sise <= 8", 'names "tp-sise".*did you mean "tp-size"'),
        ("nonsense <= 8", "which is not among the parameters"),
        ("tp-size ** 2 <= 8", "powers are not offered"),
        ("tp-size = 8", 'write "=="'),
        ("tp-size == 1 && radix", 'write "and"'),
        ("tp-size + 1", "neither true nor false"),
        ("(1, 2)", "neither true nor false"),
        ("1 < 2", "speaks of no parameter"),
        ("tp-size <= 'a'", "compares a number with a text"),
        ("tp-size == 'a'", "never equal"),
        ("attention-backend * 2 == 4", "computes with a text"),
        ("'a' * 100000000 == attention-backend", "computes with a text"),
        ("'%s' % tp-size == 'a'", "computes with a text"),
        ("tp-size in 3", "needs a list"),
        ("attention-backend in 'fa3 triton'", "needs a list"),
        ("[1] == [1]", "has a list outside"),
        ("tp-size in ['a']", "compares a number with a text"),
        ("tp-size <= ", "is not a condition"),
        ("tp-size 4", "is not a condition"),
        ("", "is not a condition"),
        ("tp-size == 1 if radix else 2", "names"),
        ("lambda: tp-size", "names|meaning"),
        ("tp-size.real == 1", "names|meaning"),
        ("tp-size == '\\x41'", "backslash"),
        ("tp-size == 'abc", "quotes that does not end"),
        ("tp-size < 99999999999999999999", "more than 18 digits"),
        ("tp-size < 1e999", "too large"),
        ("tp-size < 4GB", "neither a number nor a name"),
        ("tp-size < 8 and " * 40 + "radix", f"longer than {MAX_LENGTH}"),
        ("(" * 90 + "radix" + ")" * 90 + " == " + "-" * 100 + "1", "nested deeper"),
        ("tp-size is 1", "names"),
        ("__import__('os').system('true')", "names"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        parsed(text)


def test_a_text_in_quotes_is_left_alone() -> None:
    kinds = {"a": ANY_KIND}
    assert parse_constraint("a == 'tp-size and __x__'", kinds).is_satisfied_by(
        {"a": "tp-size and __x__"}
    )


_WORDS = ["tp-size", "dp_size", "radix", "mixed", "attention-backend", "'fa3'", "1", "0", "2.5"]
_SIGNS = ["(", ")", "[", "]", ",", "+", "-", "*", "/", "//", "%", "<", "<=", "==", "!="]
_KEYWORDS = ["and", "or", "not", "in"]
_NOT_OFFERED = ["**", "lambda", ".", ":", "if", "else", "{", "}", "\\", '"', "=", "@", "\0", "é"]
_PIECES = st.sampled_from([*_WORDS, *_SIGNS, *_KEYWORDS, *_NOT_OFFERED])


@settings(max_examples=1_500)
@given(st.text(max_size=60) | st.lists(_PIECES, max_size=25).map(" ".join))
def test_garbage_is_refused_by_a_constraint_error_or_evaluated(text: str) -> None:
    try:
        constraint = parsed(text)
    except ConstraintError:
        return
    assert constraint.is_satisfied_by(VALUES) in (True, False)


_NUMBERS = st.sampled_from(["tp_size", "dp_size", "tp", "radix", "0", "1", "7", "2.5", "True"])


def _combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    return st.builds("({} {} {})".format, parts, signs, parts) | st.builds("(-{})".format, parts)


_ARITHMETIC = st.recursive(_NUMBERS, _combined, max_leaves=5)
_COMPARISON = st.builds(
    "{} {} {} {} {}".format,
    _ARITHMETIC,
    st.sampled_from(["<", "<=", "==", "!=", ">", ">="]),
    _ARITHMETIC,
    st.sampled_from(["<", "==", ">="]),
    _ARITHMETIC,
) | st.builds(
    "{} {} [{}, {}]".format, _ARITHMETIC, st.sampled_from(["in", "not in"]), _NUMBERS, _NUMBERS
)
_CONDITION = st.recursive(
    _COMPARISON,
    lambda parts: (
        st.builds("({} and {})".format, parts, parts)
        | st.builds("({} or {})".format, parts, parts)
        | st.builds("(not {})".format, parts)
    ),
    max_leaves=4,
)


@settings(max_examples=1_000)
@given(text=_CONDITION, tp_size=st.integers(0, 9), dp_size=st.integers(0, 9), radix=st.booleans())
def test_well_formed_conditions_mean_what_they_mean_in_python(
    text: str, tp_size: int, dp_size: int, radix: bool
) -> None:
    assume(len(text) <= MAX_LENGTH and any(name in text for name in ("tp", "radix")))
    names = {"tp_size": tp_size, "dp_size": dp_size, "tp": 3, "radix": radix}
    try:
        expected = bool(eval(text, {"__builtins__": {}}, names))
    except ZeroDivisionError:
        expected = False
    values = {"tp-size": tp_size, "dp-size": dp_size, "tp": 3, "radix": radix}
    assert parsed(text).is_satisfied_by(values) is expected
