"""Runs genai-bench's `benchmark` so that it asks which load point to measure next.

genai-bench loops over a list of scenarios and, for each, over a list of concurrencies, both given
on its command line (0.0.5: `cli/cli.py`). Here both lists are replaced by ones that ask the parent:
a line on standard output says that a point is wanted, and a line of JSON on standard input names
it. So one process measures points that nobody knew when it was started, and pays once for its
import and its tokenizer, which take seconds.

Run as a script by `command.command`; it must not import anything of this project.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

# Imported as a module, not run as `-m genai_bench.cli.cli`: this is what the `genai-bench` script
# does. locust patches the standard library for gevent when it is imported, so nothing else of
# weight may come before it.
from genai_bench.cli import cli as genai_bench_cli

ASKS = "(asks for a load point)"
"""The line that asks. `output.py` knows it as well, and can't import it from here."""


class AskedScenarios(list[str]):
    """Iterating asks for a load point, again and again: `levels` is made to hold its level, the
    concurrency or batch size, and its scenario is handed out."""

    def __init__(self, scenarios: list[str], levels: list[int]) -> None:
        super().__init__(scenarios)
        self._levels = levels

    def __iter__(self) -> Iterator[str]:
        while True:
            print(ASKS, flush=True)  # noqa: T201
            answer = sys.stdin.readline()
            if not answer:
                # The parent is gone, and with it whoever wanted reports.
                sys.exit(0)
            point = json.loads(answer)
            self._levels[:] = [point["level"]]
            yield point["scenario"]


def point_by_point(benchmark: Callable[..., Any]) -> Callable[..., Any]:
    """genai-bench's `benchmark` with lists that ask in place of those of its command line."""

    def asking(**options: Any) -> Any:
        # `iteration_type` names the option that holds them.
        levels = options[options["iteration_type"]] = list(options[options["iteration_type"]])
        options["traffic_scenario"] = AskedScenarios(list(options["traffic_scenario"]), levels)
        return benchmark(**options)

    return asking


def no_plot(*args: Any) -> None:
    """In place of the plot that would be drawn after each scenario, that is after each point."""


def main() -> None:
    """Run genai-bench until its parent goes away or ends it."""
    module: Any = genai_bench_cli
    command = module.cli.commands["benchmark"]
    command.callback = point_by_point(command.callback)
    module.plot_single_scenario_inference_speed_vs_throughput = no_plot
    # genai-bench keeps this name in its metadata, as the first word of the command.
    sys.argv[0] = "genai-bench"
    module.cli()


if __name__ == "__main__":
    main()
