"""Which cards are large enough for an experiment, where those of the hosts differ in size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from controllers.base import HostCards

Fits = Callable[[Sequence[float]], bool]
"""Whether an engine may be launched on cards of these sizes, in MiB."""

SAME_SIZE = 0.02
"""Cards of one model differ by no more than this part of their memory, such as by ECC's share."""


def suited_cards(
    cards: HostCards, gpus: int, fits: Fits, elsewhere: Iterable[Sequence[float]] = ()
) -> frozenset[int] | None:
    """The cards of a host that `gpus` may be taken from; None for any.

    `elsewhere` has the sizes of the cards of each other host that may run it. None is left here
    where it only fits there. What is too big for all may be taken anywhere, to be refused with the
    numbers.
    """
    sizes = cards.memory_mib
    others = [one for one in elsewhere if len(one) >= gpus]
    all_sizes = [*sizes.values(), *(size for one in others for size in one)]
    if not all_sizes or min(all_sizes) >= max(all_sizes) * (1 - SAME_SIZE):
        return None
    if any(card not in sizes for card in cards.present):
        return None
    here = large_enough({card: sizes[card] for card in cards.present}, gpus, fits)
    if here:
        return here
    is_for_others = any(large_enough(dict(enumerate(one)), gpus, fits) for one in others)
    return frozenset() if is_for_others else None


def large_enough(sizes: Mapping[int, float], gpus: int, fits: Fits) -> frozenset[int]:
    """The cards any `gpus` of which will do; else the largest, if they will; else none."""
    largest_first = sorted(sizes, key=lambda card: -sizes[card])
    if len(largest_first) < gpus:
        return frozenset()
    found: frozenset[int] = frozenset()
    for count in range(gpus, len(largest_first) + 1):
        smallest = sizes[largest_first[count - 1]]
        if not fits([smallest] * gpus):
            break
        found = frozenset(largest_first[:count])
    if not found and fits([sizes[card] for card in largest_first[:gpus]]):
        found = frozenset(largest_first[:gpus])
    return found
