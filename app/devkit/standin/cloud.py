"""The stand-in's state, in memory: it is lost when the process ends."""

from dataclasses import dataclass, field
from datetime import timedelta

from app.devkit.clock import Clock
from app.devkit.standin.account import Account
from app.devkit.standin.budgets import Budgets
from app.devkit.standin.calls import Calls
from app.devkit.standin.faults import Faults
from app.devkit.standin.grants import Host, IssuedKeys, Tokens
from app.devkit.standin.jobs import StandinJobs, SubmissionRules
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
    # 15 minutes: IAM's FAQ ("Your account is locked for 15 minutes"). 5 failures: IAM's default password policy.
    user_locks: Locks = field(default_factory=lambda: Locks(max_failures=5, duration=timedelta(minutes=15)))
    # API Request Signing Guide: "more than five consecutive times … locked for five minutes".
    key_locks: Locks = field(default_factory=lambda: Locks(max_failures=6, duration=timedelta(minutes=5)))
    submission_rules: SubmissionRules = field(default_factory=SubmissionRules)
    host: Host = field(default_factory=Host)

    @classmethod
    def with_tokens_for(cls, life: timedelta) -> "Cloud":
        """life: of tokens and temporary keys."""
        return cls(Tokens(life), IssuedKeys(life))

    def recover(self) -> None:
        """Removes faults, budgets, locks and the settings for submissions and host. Keeps jobs, tokens and keys."""
        for disturbance in (self.faults, self.budgets, self.user_locks, self.key_locks):
            disturbance.clear()
        self.submission_rules = SubmissionRules()
        self.host = Host()
