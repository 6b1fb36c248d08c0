"""The traffic scenarios of genai-bench for text: how many tokens go in and come out.

Spelt as genai-bench 0.0.5 prints them (`genai_bench/scenarios/text.py`), since its result files
are named after the scenario as printed and could not be found under another spelling.
"""

from __future__ import annotations

import re

MIN_INPUT_TOKENS = 1
MIN_OUTPUT_TOKENS = 2
"""genai-bench raises fewer to two: one token alone has no time between tokens."""

EXAMPLES = "D(100,100), N(480,240)/(300,150), U(100,200) or U(50,100)/(100,200)"

_NUMBER = r"(0|[1-9][0-9]{0,6})"
_PAIR = rf"\({_NUMBER},{_NUMBER}\)"

_DETERMINISTIC = re.compile(rf"D{_PAIR}")
_NORMAL = re.compile(rf"N{_PAIR}/{_PAIR}")
_UNIFORM_UP_TO = re.compile(rf"U{_PAIR}")
_UNIFORM = re.compile(rf"U{_PAIR}/{_PAIR}")


def scenario_fault(scenario: str) -> str | None:
    """What is wrong with a traffic scenario, as the end of a sentence; None when it is right."""
    if match := _DETERMINISTIC.fullmatch(scenario) or _UNIFORM_UP_TO.fullmatch(scenario):
        return _too_few(*_tokens(match))
    if match := _NORMAL.fullmatch(scenario):
        mean_input, _, mean_output, _ = _tokens(match)
        return _too_few(mean_input, mean_output)
    if match := _UNIFORM.fullmatch(scenario):
        min_input, max_input, min_output, max_output = _tokens(match)
        if min_input > max_input or min_output > max_output:
            return "must have the smaller number of tokens first in each pair"
        return _too_few(min_input, min_output)
    return f"must be a traffic scenario such as {EXAMPLES}, without spaces"


def typical_output_tokens(scenario: str) -> int:
    """The exact (`D`), mean (`N`) or largest (`U`) number of output tokens of a request.

    Raises:
        ValueError: it is no valid scenario.
    """
    for pattern, place in ((_DETERMINISTIC, 1), (_NORMAL, 2), (_UNIFORM_UP_TO, 1), (_UNIFORM, 3)):
        if match := pattern.fullmatch(scenario):
            return _tokens(match)[place]
    raise ValueError(f"{scenario!r} is no traffic scenario")


def mean_tokens(scenario: str) -> tuple[float, float]:
    """The mean numbers of input and of output tokens of a request.

    Raises:
        ValueError: it is no valid scenario.
    """
    if match := _DETERMINISTIC.fullmatch(scenario):
        input_tokens, output_tokens = _tokens(match)
        return float(input_tokens), float(output_tokens)
    if match := _NORMAL.fullmatch(scenario):
        mean_input, _, mean_output, _ = _tokens(match)
        return float(mean_input), float(mean_output)
    if match := _UNIFORM_UP_TO.fullmatch(scenario):
        most_input, most_output = _tokens(match)
        return (1 + most_input) / 2, (1 + most_output) / 2
    if match := _UNIFORM.fullmatch(scenario):
        min_input, max_input, min_output, max_output = _tokens(match)
        return (min_input + max_input) / 2, (min_output + max_output) / 2
    raise ValueError(f"{scenario!r} is no traffic scenario")


def _tokens(match: re.Match[str]) -> list[int]:
    return [int(group) for group in match.groups()]


def _too_few(input_tokens: int, output_tokens: int) -> str | None:
    if input_tokens < MIN_INPUT_TOKENS:
        return f"must have at least {MIN_INPUT_TOKENS} input token"
    if output_tokens < MIN_OUTPUT_TOKENS:
        return f"must have at least {MIN_OUTPUT_TOKENS} output tokens"
    return None
