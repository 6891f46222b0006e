"""Pauses of the circuit breakers, of CPH projects and of destinations."""

from datetime import timedelta


def pauses(first: timedelta, longest: timedelta) -> tuple[timedelta, ...]:
    """Returns the pause after each refusal in a row. Each doubles the previous one; the last one repeats."""
    if first >= longest:
        return (longest,)
    return (first, *pauses(2 * first, longest))


# CPH locks an access key for five minutes after more than five failures in a row; IAM does so with a user.
PAUSES = pauses(timedelta(minutes=1), timedelta(hours=1))
