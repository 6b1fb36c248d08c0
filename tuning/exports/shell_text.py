"""Commands as shell scripts that people read: quoted, one flag per line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence


def script(command: Iterable[Sequence[str]], comments: Iterable[str]) -> str:
    """`command` is in groups of words, one line each."""
    lines = " \\\n  ".join(shlex.join(words) for words in command)
    return "".join(["#!/bin/sh\n", *(f"# {comment}\n" for comment in comments), f"{lines}\n"])


def by_flag(argv: Iterable[str]) -> Iterator[list[str]]:
    """The words of a command line in groups: the program, then each flag with its values."""
    group: list[str] = []
    for word in argv:
        if word.startswith("--") and group:
            yield group
            group = []
        group.append(word)
    if group:
        yield group
