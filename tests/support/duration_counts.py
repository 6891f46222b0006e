"""The histogram of durations as record_durations.lua maintains it, in Python."""

from collections.abc import Mapping
from datetime import timedelta

from app.domain.cadence import FADE_ABOVE, bucket_of


def with_one_more(counts: Mapping[int, int], duration: timedelta) -> Mapping[int, int]:
    """Returns the histogram with one more job.

    When there are too many, all counts are halved and rounded down: a bucket with a single job becomes empty.
    """
    bucket = bucket_of(duration)
    more = {**counts, bucket: counts.get(bucket, 0) + 1}
    if sum(more.values()) <= FADE_ABOVE:
        return more
    return {bucket: count // 2 for bucket, count in more.items() if count > 1}
