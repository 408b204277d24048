"""thampi keys: who may call an endpoint that asks for API keys.

A key belongs to a stage, not to one endpoint of it: it may be made before the first push, and it stays when the
endpoint is made anew or asks for no keys for a while, until it is revoked or the stage is destroyed.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from thampi import names
from thampi.aws.rest import api_keys, usage_plan
from thampi.aws.rest.api_keys import ApiKey, Usage
from thampi.aws.rest.wanted import Plan
from thampi.config import Stage
from thampi.errors import CloudError, ConfigError
from thampi.operations.place import Place

VARIABLE = "THAMPI_API_KEY"  # what predict and the client send, before they look for a key at AWS

_LONGEST = 128  # of a key's name; AWS takes more, people don't


@dataclass(frozen=True)
class Key:
    """A key, as people know it; `usage` where the plan has a quota and AWS says how much of it is left."""

    key: ApiKey
    usage: Usage | None = None

    def as_json(self) -> dict[str, Any]:
        """Return all of it but the value."""
        usage = self.usage
        return {
            "label": self.key.label,
            "id": self.key.key_id,
            "created_utc": self.key.created.replace(tzinfo=None).isoformat() + "Z",
            "enabled": self.key.enabled,
            "in_plan": self.key.in_plan,
            "used": usage.used if usage else None,
            "remaining": usage.remaining if usage else None,
        }


@dataclass(frozen=True)
class Shown:
    """A key with its value, which is for nobody but who asked for it."""

    key: ApiKey
    value: str

    def __repr__(self) -> str:
        return f"Shown(key={self.key!r}, value='***')"

    def as_json(self) -> dict[str, Any]:
        """Return all of it, the value too."""
        return {**Key(self.key).as_json(), "value": self.value}


def create(stage: Stage, place: Place, label: str) -> Shown:
    """Make a key of this label, or finish one that was begun.

    Raises ConfigError when the stage asks for no keys, or the label is none or taken; CloudError when AWS refuses.
    """
    check_asked_for(stage)
    check_label(stage, label)
    plan = _plan_made(stage, place)
    made = api_keys.ensure(place.aws, project=stage.name, stage=stage.stage, label=label, plan=plan, tags=_tags(stage))
    if made.action == "left":
        raise ConfigError(
            f"stage {stage.stage} has a key {label} already, of {_day(made.value)}",
            hint=f"thampi keys {stage.stage} show {label} prints it; another label makes another key",
        )
    return Shown(made.value, api_keys.value(place.aws, made.value))


def listed(stage: Stage, place: Place, now: datetime | None = None) -> list[Key]:
    """Return the keys of a stage, by label; raises ConfigError when there are none, and it asks for none."""
    aws = place.aws
    plan = usage_plan.read(aws, stage.name, stage.stage)
    keys = api_keys.read(aws, stage.name, stage.stage, plan)
    if not keys:
        check_asked_for(stage)
    used = api_keys.usage(aws, plan, (now or datetime.now(UTC)).date()) if plan and keys else {}
    return [Key(key, used.get(key.key_id)) for key in keys]


def show(stage: Stage, place: Place, label: str) -> Shown:
    """Return a key with its value; raises ConfigError when there is none of this label."""
    key = _labelled(stage, place, label)[0]
    return Shown(key, api_keys.value(place.aws, key))


def revoke(stage: Stage, place: Place, label: str) -> list[ApiKey]:
    """Delete the key of this label, all of them should there be several; raises ConfigError when there is none."""
    keys = _labelled(stage, place, label)
    for key in keys:
        api_keys.revoke(place.aws, key)
    return keys


def find_value(stage: Stage, place: Place, environ: Mapping[str, str]) -> str:
    """Return the value of a key that lets a request in: the variable's, or that of the stage's oldest key.

    Raises CloudError when there is none, ConfigError for a variable that is no key.
    """
    if given := environ.get(VARIABLE, "").strip():
        if not re.fullmatch(r"[\x21-\x7e]+", given):
            raise ConfigError(
                f"{VARIABLE} has to be one word of plain ASCII", hint="was more read than the key itself?"
            )
        return given
    plan = usage_plan.read(place.aws, stage.name, stage.stage)
    keys = api_keys.read(place.aws, stage.name, stage.stage, plan) if plan else ()
    usable = sorted((key for key in keys if key.enabled and key.in_plan), key=lambda key: key.created)
    if not usable:
        raise CloudError(
            f"the endpoint of stage {stage.stage} asks for an API key, and there is none",
            hint=f"thampi keys {stage.stage} create me makes one; a key of somebody else goes into {VARIABLE}",
        )
    return api_keys.value(place.aws, usable[0])


def exist(stage: Stage, place: Place) -> bool:
    """Say whether there is anything that `remove` would delete."""
    plan = usage_plan.read(place.aws, stage.name, stage.stage)
    return plan is not None or bool(api_keys.read(place.aws, stage.name, stage.stage, None))


def remove(stage: Stage, place: Place) -> bool:
    """Delete all keys of the stage, and the plan; say whether there was one of them."""
    keys = api_keys.read(place.aws, stage.name, stage.stage, None)
    for key in keys:
        api_keys.revoke(place.aws, key)
    return usage_plan.remove(place.aws, stage.name, stage.stage) or bool(keys)


def check_asked_for(stage: Stage) -> None:
    """Raise ConfigError unless the stage's settings ask callers for a key."""
    api, at = stage.api, f"stages.{stage.stage}.api"
    if api.type != "rest":
        raise ConfigError(
            f'only a REST API asks for API keys, and {at}.type is "{api.type}"',
            hint=f'set type = "rest" and auth = "api_key" under [{at}], then thampi push {stage.stage}',
        )
    if api.auth != "api_key":
        raise ConfigError(
            f'nobody is asked for an API key in stage {stage.stage}: {at}.auth is "{api.auth}"',
            hint=f'set auth = "api_key" under [{at}], then thampi push {stage.stage}',
        )


def check_label(stage: Stage, label: str) -> None:
    """Raise ConfigError when a key can't be called so."""
    longest = _LONGEST - len(names.api_key(stage.name, stage.stage, ""))
    if len(label) > longest or not re.fullmatch(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", label):
        raise ConfigError(
            f"a key can't be called {label!r}: a label is letters and digits with single . - or _ between, "
            f"at most {longest}",
            hint=f"thampi keys {stage.stage} create dashboard",
        )


def _labelled(stage: Stage, place: Place, label: str) -> list[ApiKey]:
    plan = usage_plan.read(place.aws, stage.name, stage.stage)
    keys = api_keys.read(place.aws, stage.name, stage.stage, plan)
    found = sorted((key for key in keys if key.label == label), key=lambda key: (not key.in_plan, key.created))
    if found:
        return found
    if not keys:
        check_asked_for(stage)
    labels = list(dict.fromkeys(key.label for key in keys))
    near = difflib.get_close_matches(label, labels, n=1)
    meant = f", did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"stage {stage.stage} has no key {label!r}{meant}",
        hint=f"there are: {', '.join(labels)}" if labels else f"thampi keys {stage.stage} create {label} makes it",
    )


def _plan_made(stage: Stage, place: Place) -> usage_plan.Found:
    """Return the plan; before the first push, one that holds no API yet. To change its limits is for push to do."""
    made = usage_plan.ensure(
        place.aws,
        project=stage.name,
        stage=stage.stage,
        api_id=None,
        limits=Plan(**asdict(stage.api.plan)),
        tags=_tags(stage),
        keep=True,
    )
    return made.value


def _tags(stage: Stage) -> dict[str, str]:
    return {**stage.tags, **names.tags(stage.name, stage.stage)}


def _day(key: ApiKey) -> str:
    return key.created.date().isoformat()
