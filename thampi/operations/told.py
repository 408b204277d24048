"""What the handler is told of a stage, by environment variables: the same on AWS and on this machine."""

from dataclasses import asdict

import orjson

from thampi.config import Stage


def of(stage: Stage, *, cors: bool) -> dict[str, str]:
    """Return the variables that depend on the settings alone, those of the user included.

    `cors`: the handler is to say which other sites' pages may call, because what stands in front of it doesn't.
    """
    api = stage.api
    return {
        **stage.environment,
        "THAMPI_NAME": stage.name,
        "THAMPI_STAGE": stage.stage,
        "THAMPI_MAX_BODY_MB": str(stage.max_body_mb),
        **({} if api.page else {"THAMPI_PAGE": "false"}),
        **({"THAMPI_CORS": orjson.dumps(asdict(api.cors)).decode()} if cors and api.cors else {}),
        **({"THAMPI_CACHE": f"ttl_s={api.cache.ttl_s},size_mb={api.cache.size_mb}"} if api.cache else {}),
    }
