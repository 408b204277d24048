"""thampi releases: the versions of a stage, what each is made of, and who gets which."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from thampi import names
from thampi.aws import registry, release
from thampi.aws.registry import Listed
from thampi.aws.release import Live, Version
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations.place import Place


@dataclass(frozen=True)
class Release:
    """One published version of a stage's function: an image, a model, a configuration."""

    version: str
    state: str  # live, candidate, or empty
    share: float  # of the calls, in percent
    was_live: bool
    model: str
    image: str  # its digest; empty where nobody says which it was
    recipe: str
    when: str
    who: str
    configuration: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return asdict(self)


def releases(stage: Stage, place: Place) -> tuple[Release, ...]:
    """List the releases of a stage, the newest first; raise CloudError when there is none."""
    aws, name = place.aws, names.function(stage.name, stage.stage)
    versions = release.versions(aws, name)
    if not versions:
        raise CloudError(
            f"{stage.name} has no release in stage {stage.stage} ({place})", hint=f"thampi push {stage.stage}"
        )
    live, images = release.read_live(aws, name), registry.images(aws, stage.name)
    return tuple(_release(each, live, images) for each in versions)


def digest_of(version: Version, images: tuple[Listed, ...]) -> str:
    """Return the digest of a version's image: Lambda's own word for it, or what the recipe's tag names."""
    recipe = release.said(version.description).get("recipe")
    known = {each.digest for each in images}
    own = f"sha256:{version.code_sha256}" if re.fullmatch(r"[0-9a-f]{64}", version.code_sha256) else ""
    tagged = next((each.digest for each in images if recipe in each.tags), "")
    return own if own in known or not tagged else tagged


def _release(version: Version, live: Live | None, images: tuple[Listed, ...]) -> Release:
    said = release.said(version.description)
    shares = {number: 100 * share for number, share in live.weights.items()} if live else {}
    state, share = "candidate" if version.number in shares else "", shares.get(version.number, 0.0)
    if live is not None and version.number == live.version:
        state, share = "live", 100 - sum(shares.values())
    return Release(
        version=version.number,
        state=state,
        share=round(share, 6),
        was_live=live is not None and version.number in live.before,
        model=version.model.rstrip("/").rpartition("/")[2] or said.get("model", ""),
        image=digest_of(version, images),
        recipe=said.get("recipe", ""),
        when=said.get("when") or version.published,
        who=said.get("who", ""),
        configuration=version.configuration,
    )
