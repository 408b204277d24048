"""A stage gets an endpoint of another type: the new one has answered before the old one goes.

A new type is a new URL, so nobody can be moved unseen: it is done only when it was asked for, and both URLs are said.
"""

import contextlib
from collections.abc import Callable, Sequence

from thampi import names
from thampi.asking.asker import Asker
from thampi.asking.failures import EndpointError, UnauthorizedError
from thampi.aws import release
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations import domain, endpoint, predict
from thampi.operations.place import Place

Say = Callable[[str], None]
Try = Callable[[Stage, Place], None]

# What a REST API says of a path or a stage that it doesn't have, with a 403.
_NOTHING_THERE = "Missing Authentication Token"
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # until everybody at AWS knows of the new one


def finish(
    stage: Stage,
    place: Place,
    new: endpoint.Standing,
    others: Sequence[endpoint.Standing],
    *,
    try_out: Try,
    say: Say,
) -> list[endpoint.Changes]:
    """Let the domain lead to the new one; remove `others`, those of other types, and what is left of them.

    The new one was tried before any of it.
    Raises CloudError when the new one does not answer: both stand then, and the same command goes on from there.
    """
    callers = release.callers(place.aws, names.function(stage.name, stage.stage))
    rows = endpoint.take_back(stage, place, endpoint.stale(stage, others, callers))
    if others:
        say(f"trying the new endpoint {new.url}")
        try_out(stage, place)
    rows += domain.ensure(stage, place, new, others, say=say)
    for old in others:
        say(f"the old endpoint goes: {old.url} answers no longer, {new.url} does")
    return [*rows, *endpoint.remove_others(stage, place, others)]


def try_out(stage: Stage, place: Place) -> None:
    """Ask the endpoint of the wanted type whether the model is there, until it says so; raise CloudError if it doesn't.

    Where callers have to prove something, a refusal of who pushes is an answer, too: they need no right to call it.
    But for the refusal by which API Gateway means that nothing is there.
    """
    reached = predict.reach(stage, place, is_new=True)
    with contextlib.closing(Asker(reached.url, reached.authorize, timeout_s=reached.timeout_s)) as asker:
        for pause in (*_PAUSES_S, None):
            try:
                asker.ping()
                return
            except EndpointError as failure:
                if stage.api.auth != "none" and _is_refusal(failure):
                    return
                if pause is None:
                    raise CloudError(
                        f"the new endpoint of stage {stage.stage} does not answer, and the old one stays: "
                        f"{failure.message}",
                        hint=f"thampi logs {stage.stage}, then run the same command again",
                    ) from failure
            place.aws.sleep(pause)


def _is_refusal(failure: EndpointError) -> bool:
    return isinstance(failure, UnauthorizedError) and _NOTHING_THERE not in failure.message
