"""Images of ours that the engine has and nobody needs: of other recipes than the project's own, or never tried."""

import re
from datetime import UTC, datetime, timedelta

from thampi.builder.client import Client

_UNTRIED = re.compile(r".*-untried-[0-9a-f]{8}")
_A_BUILD = timedelta(hours=2)  # takes less: what is younger may be one that is under way


def find(
    client: Client, repository: str, keep: frozenset[str], *, everybodys: bool = False, now: datetime | None = None
) -> list[str]:
    """Name the images of a project's repository but for those to keep; none without an engine.

    `everybodys`: also what was never tried of other projects, whose images thampi can't tell to be needed or not.
    """
    listed = client.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}\t{{.CreatedAt}}")
    oldest = (now or datetime.now(UTC)) - _A_BUILD
    found = []
    for line in listed.stdout.splitlines() if listed.returncode == 0 else ():
        reference, _, created = line.partition("\t")
        owner, _, tag = reference.rpartition(":")
        is_untried = _UNTRIED.fullmatch(tag) is not None
        if tag == "<none>" or reference in keep or (is_untried and _parse(created) > oldest):
            continue
        if owner == repository or (everybodys and is_untried and owner.startswith("thampi-")):
            found.append(reference)
    return found


def remove(client: Client, references: list[str]) -> list[str]:
    """Remove images, and return those that are gone: one that a container uses stays."""
    return [each for each in references if client.run("image", "rm", each).returncode == 0]


def _parse(created: str) -> datetime:
    """Read a time as docker says it: 2026-09-06 22:03:04 +0200 CEST."""
    try:
        return datetime.strptime(" ".join(created.split()[:3]), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return datetime.now(UTC)
