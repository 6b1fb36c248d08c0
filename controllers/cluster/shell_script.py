"""A shell script that starts an engine, as some runtimes have one: `bash -lc 'vllm serve …'`.

Arguments after such a script would be its positional parameters and never reach the engine, so
flags have to go into it. Only what that takes is understood here: words, quotes, comments, line
continuations and where a simple command ends. Source: POSIX Shell Command Language, 2.2 to 2.10.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
_WITH_SCRIPT = re.compile(r"-[a-z]*c[a-z]*")
_WITH_NAME = frozenset({"-o", "+o", "-O", "+O"})
"""Options that are followed by a name of their own."""
_OPERATOR = re.compile(r"\|\||&&|;;|<<|>>|>&|<&|&>|[;&|()<>\n]")
_ENDS_COMMAND = frozenset({"||", "&&", ";;", ";", "&", "|", "(", ")", "\n"})
_CONTINUATION = "\\\n"


class UnreadableScript(ValueError):
    """Flags can't be put into this script; the text says why."""


@dataclass(frozen=True)
class Word:
    """`text` is what the shell makes of it, with variables as they are; it stands at
    `start`:`end` of the script."""

    text: str
    start: int
    end: int


def script_place(command: Sequence[str]) -> int | None:
    """Which word of a container's command and args is a shell script; None where none is.

    Raises:
        UnreadableScript: the script is given arguments of its own.
    """
    shells = (at for at, word in enumerate(command) if PurePosixPath(word).name in _SHELLS)
    place = next((found for at in shells if (found := _after_options(command, at + 1))), None)
    if place is not None and place + 1 < len(command):
        raise UnreadableScript("its shell script is given arguments of its own")
    return place


def _after_options(command: Sequence[str], place: int) -> int | None:
    """Where the script is that the options from `place` on announce; None without `-c`."""
    with_script = False
    while place < len(command) and command[place][:1] in {"-", "+"}:
        option = command[place]
        with_script = with_script or _WITH_SCRIPT.fullmatch(option) is not None
        place += 2 if option in _WITH_NAME else 1
        if option == "--":
            break
    return place if with_script and place < len(command) else None


def engine_command(script: str, is_engine: Callable[[str], bool]) -> list[Word]:
    """The words of the simple command that starts the engine: of the only command there is, or of
    the one in which `is_engine` knows a word.

    Raises:
        UnreadableScript: no command of the script is the engine's, or more than one.
    """
    commands = list(simple_commands(script))
    found = [words for words in commands if any(is_engine(word.text) for word in words)]
    if not found and len(commands) == 1:
        found = commands
    if len(found) != 1:
        how = "in more than one place" if found else "by no command that could be found"
        raise UnreadableScript(f"its shell script starts the engine {how}")
    return found[0]


def with_arguments(
    script: str, words: Sequence[Word], removed: Collection[int], added: Sequence[str]
) -> str:
    """The script without some of the `words` of its engine's command, by their places, and with
    `added` after the last of them, quoted."""
    pieces, done = [], 0
    for place, word in enumerate(words):
        if place in removed:
            # With the space in front, and the line's end where the word has a line of its own.
            pieces.append(script[done : words[place - 1].end if place else word.start])
            done = word.end
    end = words[-1].end
    pieces.append(script[done:end])
    pieces += [f"{_space_before(word)}{shlex.quote(word)}" for word in added]
    return "".join((*pieces, script[end:]))


def _space_before(word: str) -> str:
    return f" {_CONTINUATION}  " if word.startswith("--") else " "


def simple_commands(script: str) -> Iterator[list[Word]]:
    """The simple commands of a script, in their order, without redirections.

    Raises:
        UnreadableScript: a quote or a substitution is not closed, or there is a here-document.
    """
    words: list[Word] = []
    redirected = False
    place = 0
    while place < len(script):
        if script.startswith(_CONTINUATION, place):
            place += len(_CONTINUATION)
        elif script[place] in " \t\r":
            place += 1
        elif script[place] == "#":
            place = _line_end(script, place)
        elif operator := _OPERATOR.match(script, place):
            if operator[0] == "<<":
                raise UnreadableScript("its shell script has a here-document")
            if operator[0] in _ENDS_COMMAND and words:
                yield words
                words = []
            redirected = operator[0] not in _ENDS_COMMAND
            place = operator.end()
        else:
            word = _word(script, place)
            is_number = word.text.isdecimal() and script[word.end : word.end + 1] in {"<", ">"}
            if not redirected and not is_number:
                words.append(word)
            redirected = False
            place = word.end
    if words:
        yield words


def _word(script: str, start: int) -> Word:
    text: list[str] = []
    place = start
    while place < len(script):
        letter = script[place]
        if letter in " \t\r" or _OPERATOR.match(script, place):
            break
        end = _piece_end(script, place)
        piece = script[place:end]
        if letter == "'":
            text.append(piece[1:-1])
        elif letter == '"':
            text.append(re.sub(r'\\(["\\$`])', r"\1", piece[1:-1].replace(_CONTINUATION, "")))
        elif letter == "\\":
            text.append("" if piece == _CONTINUATION else piece[1:])
        else:
            text.append(piece)
        place = end
    return Word("".join(text), start, place)


def _piece_end(script: str, place: int) -> int:
    """Where the quote, escape, substitution or letter at `place` ends."""
    letter = script[place]
    if letter == "'":
        return _closed(script, place + 1, "'", escapes=False)
    if letter in '"`':
        return _closed(script, place + 1, letter, escapes=True)
    if letter == "\\":
        return min(place + 2, len(script))
    if letter == "$" and script[place + 1 : place + 2] in {"(", "{"}:
        return _balanced(script, place + 1)
    return place + 1


def _closed(script: str, place: int, quote: str, *, escapes: bool) -> int:
    while place < len(script):
        if script[place] == quote:
            return place + 1
        if escapes and script[place] == "\\":
            place += 2
        elif escapes and quote == '"' and script.startswith(("$(", "${"), place):
            place = _balanced(script, place + 1)
        else:
            place += 1
    raise UnreadableScript(f"its shell script has a {quote} that is not closed")


def _balanced(script: str, place: int) -> int:
    opening = script[place]
    closing = ")" if opening == "(" else "}"
    depth = 0
    while place < len(script):
        letter = script[place]
        depth += (letter == opening) - (letter == closing)
        if not depth:
            return place + 1
        is_quote = letter in "'\"`\\" and letter != opening
        place = _piece_end(script, place) if is_quote else place + 1
    raise UnreadableScript(f"its shell script has a ${opening} that is not closed")


def _line_end(script: str, place: int) -> int:
    end = script.find("\n", place)
    return len(script) if end < 0 else end
