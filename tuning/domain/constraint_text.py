"""Reading the text of a constraint into words that Python's own parser can take.

Flag names hold dashes, which Python reads as minus signs. So the text is split into words here,
each flag name is replaced by a plain placeholder, and only what is known to be harmless is passed
on: no backslashes, no powers, no dots, no calls can be written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from tuning.domain.parameters import flag_name
from tuning.domain.spelling import suggestion

MAX_LENGTH = 500
_MAX_DIGITS = 18


class ConstraintError(ValueError):
    """Raised when a constraint can't be read, or compares what can't be compared."""


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>'[^'\\\n]*'|"[^"\\\n]*")
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
  | (?P<word>[A-Za-z_][\w.]*(?:-[\w.]+)*)
  | (?P<operator>\*\*|//|<=|>=|==|!=|&&|\|\||[-+*/%<>()\[\],])
    """,
    re.VERBOSE | re.ASCII,
)

_KEYWORDS = {
    "and": "and",
    "or": "or",
    "not": "not",
    "in": "in",
    "True": "True",
    "true": "True",
    "False": "False",
    "false": "False",
}

_INSTEAD = {
    "**": "powers are not offered; write the product out",
    "&&": 'write "and" instead of "&&"',
    "||": 'write "or" instead of "||"',
    "=": 'write "==" to compare',
    "!": 'write "not" instead of "!"',
    "\\": "a backslash has no meaning here",
}


def placeholder(index: int) -> str:
    """The identifier that stands for the flag at `index` of the names given to `rewrite`."""
    return f"flag_{index}"


def rewrite(text: str, names: Collection[str]) -> str:
    """The constraint with each flag name replaced by its placeholder, as one Python expression.

    A word is read as the longest flag name that fits, so `tp-size-1` is `tp-size` minus 1 where
    there is a flag `tp-size`.

    Raises:
        ConstraintError: the text is too long, has a word that names no flag, or a sign that has
            no meaning in a constraint.
    """
    if len(text) > MAX_LENGTH:
        raise ConstraintError(f"is longer than {MAX_LENGTH} characters")
    placeholders = {name: placeholder(index) for index, name in enumerate(names)}
    return " ".join(_words(text, placeholders))


def _words(text: str, placeholders: dict[str, str]) -> Iterator[str]:
    position = 0
    written, written_end = "", 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConstraintError(_unreadable(text[position:]))
        position = match.end()
        token = match.group()
        if match.lastgroup == "word":
            if match.start() >= written_end:
                written, written_end = token, match.end()
            word, rest = _longest_known(token, written, placeholders)
            position -= len(rest)
            yield word
        elif match.lastgroup == "number":
            yield _number(token)
        elif match.lastgroup != "space":
            yield _harmless(token)


def _longest_known(token: str, written: str, placeholders: dict[str, str]) -> tuple[str, str]:
    """The Python word for the longest known head of `token`, and the rest of it.

    `token` may itself be the rest of a longer word, `written`, which is what an error names.
    """
    head = token
    while head:
        if head in _KEYWORDS:
            return _KEYWORDS[head], token[len(head) :]
        if flag_name(head) in placeholders:
            return placeholders[flag_name(head)], token[len(head) :]
        head = head.rpartition("-")[0]
    known = ", ".join(placeholders) or "none"
    raise ConstraintError(
        f'names "{written}", which is not among the parameters ({known})'
        f"{suggestion(flag_name(written), placeholders)}"
    )


def _number(token: str) -> str:
    if sum(character.isdigit() for character in token) > _MAX_DIGITS:
        raise ConstraintError(f"has a number of more than {_MAX_DIGITS} digits")
    if token.isdigit():
        return str(int(token))
    if math.isinf(float(token)):
        raise ConstraintError(f"has a number that is too large: {token}")
    return repr(float(token))


def _harmless(token: str) -> str:
    if token in _INSTEAD:
        raise ConstraintError(_INSTEAD[token])
    return token


def _unreadable(rest: str) -> str:
    first = rest[0]
    if first in "'\"":
        return "has a text in quotes that does not end, or that holds a backslash"
    if first.isdigit():
        return f"has something that is neither a number nor a name: {rest.split()[0][:20]}"
    return _INSTEAD.get(first, f"has a sign without a meaning here: {first!r}")
