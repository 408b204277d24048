"""HTTP APIs as API Gateway has them: what is taken off a stage leaves the stage where it is.

ministack takes a call that ends the access log of a stage, or the limit of one of its routes, for one that deletes it.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

Handle = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


def keep_stages(api_gateway: Any) -> None:
    """Answer DeleteAccessLogSettings and DeleteRouteSettings."""
    handle: Handle = api_gateway.handle_request

    async def handled(method: str, path: str, *others: Any) -> tuple[int, dict[str, str], bytes]:
        asked = _asked(path) if method == "DELETE" else None
        if asked is None:
            return await handle(method, path, *others)
        api_id, name, what, key = asked
        stage = api_gateway._stages.get(api_id, {}).get(name)
        gone = None
        if stage is not None and what == "accesslogsettings":
            gone = stage.pop("accessLogSettings", {})
        elif stage is not None:
            gone = stage.get("routeSettings", {}).pop(key, None)
        if gone is None:
            return api_gateway._apigw_error("NotFoundException", f"nothing of {key or name} is set", 404)  # type: ignore[no-any-return]
        return 204, {}, b""

    api_gateway.handle_request = handled


def _asked(path: str) -> tuple[str, str, str, str] | None:
    """Return API, stage, what and of which route; None for what is no such call."""
    parts = unquote(path).strip("/").split("/", 6)  # v2/apis/…/stages/…/what/key
    if len(parts) < 6 or (parts[1], parts[3]) != ("apis", "stages"):
        return None
    if parts[5] not in ("accesslogsettings", "routesettings"):
        return None
    return parts[2], parts[4], parts[5], "/".join(parts[6:])
