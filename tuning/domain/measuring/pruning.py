"""How readily a configuration is given up that will hardly become the best one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Pruning(StrEnum):
    """OFF measures every load of every configuration."""

    OFF = "off"
    SAFE = "safe"
    AGGRESSIVE = "aggressive"


LARGEST_CHANCE: Mapping[Pruning, float] = {Pruning.SAFE: 0.02, Pruning.AGGRESSIVE: 0.1}
"""A configuration is stopped once it becomes the best one with less than this probability."""
