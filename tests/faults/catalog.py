"""The list of all faults. `load_all` fills it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults.judge import Breach
from tests.faults.scene import Scene, Setting

# Returns what it found broken itself, if anything.
Inject = Callable[[Scene], Sequence[Breach] | None]


@dataclass(frozen=True, slots=True)
class FaultCase:
    """text: one line that says what it does. inject: returns when the fault is over.

    recovers_s: until the first callback after it. settle_s: until nothing is open any more. prompt: callbacks must stay
    about as quick as before. goes_on: callbacks must arrive while it lasts. told: a line that some log must have.
    may_exit: processes may end by themselves. poisoned: how many records it breaks for good; metrics may be off by so
    many. damages: it damages data in Redis, so logs may report damage. quick: is run by CI. loses: why what was
    acknowledged before its end may be lost, if that is a documented limit.
    """

    group: str
    name: str
    text: str
    inject: Inject
    setting: Setting = field(default_factory=Setting)
    recovers_s: float = 15.0
    settle_s: float = 45.0
    prompt: bool = False
    goes_on: bool = False
    told: str = ""
    may_exit: bool = False
    poisoned: int = 0
    damages: bool = False
    quick: bool = False
    loses: str = ""


CATALOG: dict[str, FaultCase] = {}


def define(group: str, name: str, text: str, inject: Inject, **options: Any) -> None:
    if name in CATALOG:
        raise ValueError(f"two faults are called {name}")
    CATALOG[name] = FaultCase(group, name, text, inject, **options)


def fault(group: str, text: str, **options: Any) -> Callable[[Inject], Inject]:
    """Makes a fault of a function. Its name is the function's, with hyphens."""

    def add(inject: Inject) -> Inject:
        define(group, inject.__name__.replace("_", "-"), text, inject, **options)
        return inject

    return add


def load_all() -> dict[str, FaultCase]:
    for file in sorted((Path(__file__).parent / "faults").glob("*.py")):
        import_module(f"tests.faults.faults.{file.stem}")
    return CATALOG
