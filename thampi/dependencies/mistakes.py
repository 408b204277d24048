"""Collects what is wrong with dependency files, so that everything is said at once."""

from dataclasses import dataclass, field

from thampi.errors import ConfigError


@dataclass
class Mistakes:
    """What was found wrong so far, in the order in which it was found."""

    messages: list[str] = field(default_factory=list)
    cures: list[str] = field(default_factory=list)

    def add(self, where: object, what: str, cure: str) -> None:
        """Keep one: where it stands (a file and line), what is wrong, and the cure."""
        self.messages.append(f"{where}: {what}")
        self.cures.append(cure)

    def check(self) -> None:
        """Raise ConfigError with all of them, each cure once; do nothing when there are none."""
        if self.messages:
            raise ConfigError("\n".join(dict.fromkeys(self.messages)), hint="\n".join(dict.fromkeys(self.cures)))
