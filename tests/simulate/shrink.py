"""Makes a failing history shorter: delta debugging."""

from collections.abc import Callable, Sequence

from tests.simulate.steps import Step

MOST_RUNS = 1_500


def shrunk(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Returns steps that still fail, and of which no single one can be left out (within MOST_RUNS)."""
    kept, size, runs = list(steps), len(steps) // 2, 0
    while size:
        at, removed = 0, False
        while at < len(kept) and runs < MOST_RUNS:
            runs += 1
            fewer = kept[:at] + kept[at + size :]
            if fails(fewer):
                kept, removed = fewer, True
            else:
                at += size
        if not (removed and size == 1):
            size //= 2
    return kept
