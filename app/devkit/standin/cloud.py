"""The stand-in's state, in memory: it forgets everything when it ends."""

from dataclasses import dataclass, field
from datetime import timedelta

from app.devkit.clock import Clock
from app.devkit.standin.account import Account
from app.devkit.standin.budgets import Budgets
from app.devkit.standin.calls import Calls
from app.devkit.standin.faults import Faults
from app.devkit.standin.grants import Host, IssuedKeys, Tokens
from app.devkit.standin.jobs import StandinJobs, Submitting
from app.devkit.standin.locks import Locks


@dataclass(slots=True)
class Cloud:
    tokens: Tokens
    keys: IssuedKeys
    account: Account = field(default_factory=Account.new)
    clock: Clock = field(default_factory=Clock)
    jobs: StandinJobs = field(default_factory=StandinJobs)
    faults: Faults = field(default_factory=Faults)
    budgets: Budgets = field(default_factory=Budgets)
    calls: Calls = field(default_factory=Calls)
    # "Your account is locked for 15 minutes", says IAM's FAQ; after how many failures, its default password policy.
    user_locks: Locks = field(default_factory=lambda: Locks(at=5, life=timedelta(minutes=15)))
    # "more than five consecutive times … locked for five minutes", says the API Request Signing Guide.
    key_locks: Locks = field(default_factory=lambda: Locks(at=6, life=timedelta(minutes=5)))
    submitting: Submitting = field(default_factory=Submitting)
    host: Host = field(default_factory=Host)

    @classmethod
    def with_tokens_for(cls, life: timedelta) -> "Cloud":
        """life: of temporary keys too."""
        return cls(Tokens(life), IssuedKeys(life))

    def recover(self) -> None:
        """Nothing that was ordered goes wrong any more; jobs and what was given out stay."""
        for trouble in (self.faults, self.budgets, self.user_locks, self.key_locks):
            trouble.clear()
        self.submitting = Submitting()
        self.host = Host()
