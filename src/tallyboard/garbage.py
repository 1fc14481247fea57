"""When Python looks for garbage, in processes that take large batches."""

import gc

ALLOCATIONS = 100_000
"""Look for garbage that refers to itself after so many allocations, not after Python's 700: the lines of one large batch alone are
ten thousand, and none of them is such garbage."""


def collect_rarely() -> None:
    """From now on look rarely, and only at what requests leave, not at all that was loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)
