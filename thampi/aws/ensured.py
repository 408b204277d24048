"""What became of a thing that was made sure of."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Action = Literal["created", "changed", "left"]


@dataclass(frozen=True)
class Ensured(Generic[T]):
    """A thing as it is now, and what was done to get there; `changes` says it a line each, `memory_mb: 512 -> 1024`."""

    value: T
    action: Action
    changes: tuple[str, ...] = ()
