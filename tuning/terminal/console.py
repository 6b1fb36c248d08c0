"""Where the commands print, and how text is printed that is there to be copied."""

from __future__ import annotations

from rich.console import Console

PIPE_WIDTH = 140


def output_console(*, stderr: bool = False) -> Console:
    """A terminal's own width; a pipe or a file has none, and a table needs some."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPE_WIDTH)


def print_plain(console: Console, text: str) -> None:
    """Never wrapped and never read as markup: command lines and paths are there to be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
