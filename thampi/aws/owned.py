"""What is ours carries our tags; what doesn't is never changed or deleted."""

from collections.abc import Mapping

from thampi.errors import CloudError

_OURS = "thampi:"


def check(thing: str, tags: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise CloudError unless `tags` say that `thing` is ours; of the tags in `wanted`, only thampi's own say it."""
    missing = {key: value for key, value in wanted.items() if key.startswith(_OURS) and tags.get(key) != value}
    if missing:
        shown = ", ".join(f"{key}={value}" for key, value in missing.items())
        raise CloudError(
            f"{thing} exists and is not this project's: it lacks the tag {shown}",
            hint=f"use another name or stage in thampi.toml; to hand it over to thampi, tag it with {shown}",
        )


def changes(found: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Say which tags are missing or differ; tags that others have added stay."""
    return tuple(
        f"tags.{key}: {found.get(key, 'none')} -> {value}" for key, value in wanted.items() if found.get(key) != value
    )
