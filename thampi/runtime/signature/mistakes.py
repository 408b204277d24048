"""What is wrong with the data of a request: each mistake with the path to it."""

from dataclasses import dataclass

MOST = 100  # mistakes that one answer names

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """What is wrong at one place in the data."""

    path: Path
    message: str


class InvalidDataError(Exception):
    """The data of a request is not what the signature says; `mistakes` are the first of them, MOST at most."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = [{"path": _pointer(each), "message": each.message} for each in mistakes[:MOST]]
        others = len(mistakes) - 1
        said = f" (and {'at least ' if others >= MOST else ''}{others} more)" if others else ""
        super().__init__(f"{self.mistakes[0]['path']}: {self.mistakes[0]['message']}{said}")


class WrongBatchError(Exception):
    """`predict_batch` returned something else than one result for each item."""


def _pointer(mistake: Mistake) -> str:
    """Return where a mistake is, from the body of the request, as a JSON pointer (RFC 6901)."""
    parts = (str(each).replace("~", "~0").replace("/", "~1") for each in ("data", *mistake.path))
    return "".join(f"/{part}" for part in parts)
