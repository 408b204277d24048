"""thampi: a trained model of any framework becomes a prediction endpoint on AWS Lambda."""

from typing import TYPE_CHECKING

from thampi.runtime.loading import load
from thampi.runtime.model import BadRequest, Context, Model
from thampi.runtime.saving import save
from thampi.runtime.structs import struct as _struct  # noqa: F401 - saved models name this, and the next two
from thampi.runtime.tensors import torch_storage as _torch_storage  # noqa: F401 - saved models name these
from thampi.runtime.tensors import torch_typed_storage as _torch_typed_storage  # noqa: F401
from thampi.version import __version__

if TYPE_CHECKING:
    from thampi.client import Client as Client
    from thampi.client import EndpointError as EndpointError
    from thampi.client import InvalidDataError as InvalidDataError
    from thampi.client import LostAnswerError as LostAnswerError
    from thampi.client import ModelFailedError as ModelFailedError
    from thampi.client import QuotaExceededError as QuotaExceededError
    from thampi.client import RefusedError as RefusedError
    from thampi.client import ThrottledError as ThrottledError
    from thampi.client import TimedOutError as TimedOutError
    from thampi.client import TooLargeError as TooLargeError
    from thampi.client import UnauthorizedError as UnauthorizedError
    from thampi.client import UnavailableError as UnavailableError
    from thampi.client import UnexpectedAnswerError as UnexpectedAnswerError
    from thampi.client import UnreachableError as UnreachableError

# The client is not among them: where a model is served there is none, and `import *` has to work there, too.
__all__ = ["BadRequest", "Context", "Model", "__version__", "load", "save"]

_OF_THE_CLIENT = (
    "Client",
    "EndpointError",
    "InvalidDataError",
    "LostAnswerError",
    "ModelFailedError",
    "QuotaExceededError",
    "RefusedError",
    "ThrottledError",
    "TimedOutError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnreachableError",
)


def __getattr__(name: str) -> object:
    """Import the client when it is asked for: whoever saves or serves a model needs none of HTTP."""
    if name in _OF_THE_CLIENT:
        from thampi import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
