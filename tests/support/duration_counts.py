from collections.abc import Mapping
from datetime import timedelta

from app.domain.cadence import FADE_ABOVE, bucket_of


def with_one_more(counts: Mapping[int, int], duration: timedelta) -> Mapping[int, int]:
    """The histogram with one more job in it, as record_durations.lua makes it.

    All counts halve, rounded down, when there are too many: what is old fades, what was seen just once is forgotten.
    """
    bucket = bucket_of(duration)
    more = {**counts, bucket: counts.get(bucket, 0) + 1}
    if sum(more.values()) <= FADE_ABOVE:
        return more
    return {bucket: count // 2 for bucket, count in more.items() if count > 1}
