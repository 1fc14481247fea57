"""The one place that reads the time. Everything below takes `now` as microseconds of UTC."""

import time


def now_us() -> int:
    """The present instant."""
    return time.time_ns() // 1_000
