"""thampi info: where a stage answers, and what is live there."""

from typing import Any

from thampi import names
from thampi.aws import release, store
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations import domain, endpoint
from thampi.operations.place import Place

_MODEL, _MANIFEST, _SERVED = "THAMPI_MODEL", "THAMPI_MANIFEST_SHA256", "THAMPI_SERVED_TIME_UTC"


def info(stage: Stage, place: Place) -> dict[str, Any]:
    """Return `url` and what is live: version, image, model and sizes, and since when; of a mock that it is one.

    Raises CloudError when nothing is live.
    """
    aws = place.aws
    live = release.read_live(aws, names.function(stage.name, stage.stage))
    standing = endpoint.read(stage, place).in_use
    if standing is not None and endpoint.answers_itself(standing):
        return {
            "url": standing.url,
            "mock": True,
            "version": live.version if live else "",
            "endpoint": standing.type,
            "auth": standing.auth,
            "account": aws.account,
            "region": aws.region,
            **_domains(stage, place, standing),
        }
    if live is None or standing is None:
        raise CloudError(
            f"nothing of {stage.name} is live in stage {stage.stage} ({place})", hint=f"thampi push {stage.stage}"
        )
    environment = live.function.environment
    url = environment.get(_MODEL, "")
    # A model that is in the image lies nowhere else; the release says which one it is.
    instance_id = url.rstrip("/").rpartition("/")[2] or release.said(live.description).get("model", "")
    stored = store.read_model(aws, place.bucket, stage.name, instance_id) if url and instance_id else None
    return {
        "url": standing.url,
        **_domains(stage, place, standing),
        "version": live.version,
        "since_utc": environment.get(_SERVED, live.published),
        "model": url or "in the image",
        "instance_id": instance_id,
        "model_sha256": environment.get(_MANIFEST, ""),
        "model_bytes": stored.size_bytes if stored else None,
        "image": live.function.image_uri,
        "memory_mb": live.function.memory_mb,
        "timeout_s": live.function.timeout_s,
        "endpoint": standing.type,
        "auth": standing.auth,
        "state": live.state,
        "description": live.description,
        "account": aws.account,
        "region": aws.region,
    }


def _domains(stage: Stage, place: Place, standing: endpoint.Standing) -> dict[str, Any]:
    """Tell the domain that leads to the endpoint, and what its DNS record has to point at; nothing where none does."""
    shown = list(domain.show(stage, place, standing))
    if not shown:
        return {}
    one = next((each for each in shown if each.leads), shown[0])
    return {
        "domain_url": one.url,
        "domain_target": one.target,
        "domain_zone": one.zone_id,
        "domain_status": one.status if one.leads else "leads nowhere yet: push again",
        "certificate": one.certificate_arn,
    }
