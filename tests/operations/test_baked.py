"""A model that is baked in: its files as the image gets them, and what is too large for one."""

from pathlib import Path

import pytest

import thampi
from thampi import recipe
from thampi.errors import BundleError, ConfigError
from thampi.operations import baked
from thampi.runtime import bundle


class Bytes(thampi.Model):
    """A model with bytes that lie out of band."""

    def __init__(self) -> None:
        self.held = bytearray(range(256)) * 4096

    def predict(self, args, context):
        return args


@pytest.fixture
def saved(tmp_path):
    """A saved model."""
    return Path(thampi.save(Bytes(), "bytes", tmp_path, verify=False))


def files(folder):
    manifest = bundle.read_manifest(folder)
    return baked.files(folder, manifest, bundle.parse(manifest, "x"))


def test_the_manifest_decides_and_the_rest_lies_where_it_was_saved(saved):
    found = files(saved)
    assert found["thampi.json"] == (saved / "thampi.json").read_bytes()
    assert {name for name, each in found.items() if each == saved / name} == set(found) - {"thampi.json"}
    assert set(found) == {path.name for path in saved.iterdir()}
    assert baked.size_bytes(found) == sum(path.stat().st_size for path in saved.iterdir())


def test_a_model_of_thampi_0_1_0_decides_with_its_pickle_too_because_nothing_else_vouches_for_it(tmp_path):
    (tmp_path / "thampi.json").write_text('{"instance_id": "a", "trained_time_utc": "2018-01-01T00:00:00Z"}')
    (tmp_path / "model.pkl").write_bytes(b"a pickle")
    assert files(tmp_path)["model.pkl"] == b"a pickle"
    (tmp_path / "model.pkl").unlink()
    with pytest.raises(BundleError, match=r"model\.pkl is missing"):
        files(tmp_path)


def test_what_is_missing_or_cut_off_is_found_before_any_engine_works(saved):
    [pickle] = saved.glob("*.pkl")
    pickle.write_bytes(pickle.read_bytes()[:-1])
    with pytest.raises(BundleError, match="is damaged"):
        files(saved)
    pickle.unlink()
    with pytest.raises(BundleError, match="is missing"):
        files(saved)


def test_a_model_that_lambda_would_take_in_no_image_is_refused_with_both_numbers():
    gigabyte = 1024**3
    baked.check_size(recipe.LARGEST_BYTES, 0)
    with pytest.raises(ConfigError) as alone:
        baked.check_size(11 * gigabyte, 0)
    assert alone.value.message == "the model is 11.00 GB, and Lambda takes images of 10.00 GB at most"
    baked.check_size(9 * gigabyte, gigabyte)
    with pytest.raises(ConfigError) as together:
        baked.check_size(9 * gigabyte, gigabyte + gigabyte // 2)
    assert "is 9.00 GB and the rest of the image at least 1.50 GB" in together.value.message
    assert "S3" in together.value.hint
