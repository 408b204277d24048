"""What a stage with `mock = true` answers to predictions."""

from thampi.config import Stage
from thampi.runtime.bundle import DATA_VERSION
from thampi.runtime.encoding import encode


def answer(stage: Stage) -> str:
    """Return the JSON that a prediction answers: like that of a model, which says that it is none."""
    properties = {
        "instance_id": "mock",
        "mock": True,
        "served_time_utc": "",
        "tags": {},
        "thampi_data_version": DATA_VERSION,
        "trained_time_utc": "",
    }
    return encode({"properties": properties, "result": stage.api.mock_result}).decode()
