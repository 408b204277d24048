"""thampi: a trained model of any framework becomes a prediction endpoint on AWS Lambda."""

from thampi.runtime.loading import load
from thampi.runtime.model import BadRequest, Context, Model
from thampi.runtime.saving import save
from thampi.runtime.tensors import torch_storage as _torch_storage  # noqa: F401 - saved models name these
from thampi.runtime.tensors import torch_typed_storage as _torch_typed_storage  # noqa: F401
from thampi.version import __version__

__all__ = ["BadRequest", "Context", "Model", "__version__", "load", "save"]
