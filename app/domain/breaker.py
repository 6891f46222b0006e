"""How long to leave a server alone that does not accept who we are."""

from datetime import timedelta


def pauses(first: timedelta, longest: timedelta) -> tuple[timedelta, ...]:
    """After the first refusal in a row, the second and so on: each twice the one before; the last for ever."""
    if first >= longest:
        return (longest,)
    return (first, *pauses(2 * first, longest))


# CPH locks an access key for five minutes after more than five failures in a row, and IAM a user.
PAUSES = pauses(timedelta(minutes=1), timedelta(hours=1))
