"""Imports genai-bench, waits for the word, then runs its command line.

The import takes seconds. Done ahead, it overlaps with the warm-up, and the first point is
measured right after the warm-up instead of after seconds in which the engine went idle again.

Run as a script by `command.command`; it must not import anything of this project.
"""

from __future__ import annotations

import sys

# Imported as a module, not run as `-m genai_bench.cli.cli`: this is what the `genai-bench` script
# does. locust patches the standard library for gevent when it is imported, so nothing else may
# come before it.
from genai_bench.cli.cli import cli


def main() -> None:
    """Run genai-bench once its parent says so; end quietly when the parent is gone instead."""
    if sys.stdin.readline() != "go\n":
        return
    # genai-bench keeps this name in its metadata, as the first word of the command.
    sys.argv[0] = "genai-bench"
    cli()


if __name__ == "__main__":
    main()
