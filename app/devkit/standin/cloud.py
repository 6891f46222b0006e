"""The stand-in's state, in memory: it forgets everything when it ends."""

from dataclasses import dataclass, field
from datetime import timedelta

from app.devkit.clock import Clock
from app.devkit.standin.account import Account, Tokens
from app.devkit.standin.calls import Calls
from app.devkit.standin.faults import Faults
from app.devkit.standin.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Cloud:
    tokens: Tokens
    account: Account = field(default_factory=Account.new)
    clock: Clock = field(default_factory=Clock)
    jobs: Jobs = field(default_factory=Jobs)
    faults: Faults = field(default_factory=Faults)
    calls: Calls = field(default_factory=Calls)

    @classmethod
    def with_tokens_for(cls, life: timedelta) -> "Cloud":
        return cls(Tokens(life))
