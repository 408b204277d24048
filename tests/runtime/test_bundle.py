"""thampi.json: what is written is what is read, and nothing else is believed."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thampi.errors import BundleError
from thampi.runtime import bundle
from thampi.runtime.bundle import About, File, Part

ABOUT = About(
    instance_id="9dbc2f3c-0000-4000-8000-000000000000",
    trained_time_utc="2026-09-06T22:03:04.886644Z",
    tags={"accuracy": 0.97},
    format=1,
    python="3.11.7",
    platform="linux-x86_64",
    thampi="1.0.0",
    cloudpickle="3.1.2",
    files={"pickle": File("model-1a2b3c4d.pkl", 30), "buffers": File("model-5e6f7a8b.buffers", 164)},
    parts=[
        Part("pickle", 0, 20, 20, "none", "aa"),
        Part("pickle", 20, 10, 10, "none", "bb"),
        Part("buffers", 0, 164, 164, "none", "cc"),
    ],
    buffers=[(0, 100), (128, 36)],
    modules=["sklearn.neighbors._classification"],
    distributions={"scikit-learn": "1.9.1"},
    example={"input": [5.9, 3.2]},
)


def changed(**keys):
    return json.dumps(json.loads(bundle.dump(ABOUT)) | keys).encode()


def without(key):
    return json.dumps({name: value for name, value in json.loads(bundle.dump(ABOUT)).items() if name != key}).encode()


def test_what_is_written_is_what_is_read():
    assert bundle.parse(bundle.dump(ABOUT), "here") == ABOUT


def test_the_keys_of_thampi_json_are_a_contract():
    text = bundle.dump(ABOUT)
    assert set(json.loads(text)) == {
        *("thampi_data_version", "trained_time_utc", "instance_id", "tags"),  # the original's
        *("format", "python", "platform", "thampi", "cloudpickle", "files", "parts", "buffers"),
        *("modules", "distributions", "example", "signature", "answer"),
    }
    assert json.loads(text)["files"] == {
        "pickle": {"name": "model-1a2b3c4d.pkl", "size": 30},
        "buffers": {"name": "model-5e6f7a8b.buffers", "size": 164},
    }
    assert json.loads(text)["parts"][1] == {
        "file": "pickle",
        "offset": 20,
        "size": 10,
        "stored": 10,
        "codec": "none",
        "sha256": "bb",
    }
    assert json.loads(text)["buffers"] == [[0, 100], [128, 36]]


def test_people_can_read_thampi_json_a_key_a_line():
    lines = bundle.dump(ABOUT).decode().splitlines()
    assert len(lines) == len(asdict(ABOUT)) + 2


def test_the_original_thampi_json_is_format_0():
    keys = {"thampi_data_version": "0.1", "trained_time_utc": "2018-05-25T17:28:53.354", "instance_id": "abc"}
    about = bundle.parse(json.dumps(keys | {"tags": {"name": "iris"}}).encode(), "here")
    assert about.format == 0
    assert about.tags == {"name": "iris"}
    assert about.properties("now") == keys | {"served_time_utc": "now", "tags": {"name": "iris"}}
    assert bundle.parse(json.dumps(keys).encode(), "here").tags == {}


def test_a_newer_format_names_the_version_that_wrote_it_and_the_cure():
    with pytest.raises(BundleError, match=r"newer thampi \(2.1.0\)") as raised:
        bundle.parse(changed(format=2, thampi="2.1.0", files=["all", "different"]), "here")
    assert "upgrade" in raised.value.hint


def test_what_a_newer_thampi_says_besides_is_no_reason_to_refuse_a_model():
    assert bundle.parse(changed(mood="fine"), "here") == ABOUT


@pytest.mark.parametrize("key", [key for key in asdict(ABOUT) if key not in ("format", "answer")])
def test_a_key_that_is_missing_is_named(key):
    with pytest.raises(BundleError, match=f"'{key}' is missing"):
        bundle.parse(without(key), "here")


def test_a_bundle_from_before_answers_were_kept_has_none():
    assert bundle.parse(without("answer"), "here").answer is None


def test_without_its_format_a_bundle_is_not_taken_for_more_than_an_original_one():
    assert bundle.parse(without("format"), "here") == About(
        ABOUT.instance_id, ABOUT.trained_time_utc, ABOUT.tags, ABOUT.thampi_data_version
    )


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"7", b'"instance_id"', b"{}", b"\xff\xfe", b'{"a": 1}'])
def test_what_is_no_thampi_json_is_called_that(text):
    with pytest.raises(BundleError, match=r"here is not a thampi.json"):
        bundle.parse(text, "here")


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 0},
        {"format": "1"},
        {"format": True},
        {"python": 3.11},
        {"tags": []},
        {"instance_id": None},
        {"files": []},
        {"files": {"pickle": {"name": "x"}}},
        {"files": {"pickle": {"name": 7, "size": 30}}},
        {"parts": [{"file": "pickle"}]},
        {"parts": [7]},
        {"buffers": [[0]]},
        {"buffers": [["0", "100"]]},
        {"buffers": None},
    ],
)
def test_a_value_of_another_kind_is_refused(wrong):
    with pytest.raises(BundleError):
        bundle.parse(changed(**wrong), "here")


@pytest.mark.parametrize(
    "name", ["../model.pkl", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "..\\x", "C:x", "x\n", "x\0", ".hidden"]
)
def test_a_file_outside_the_bundle_is_refused(name):
    with pytest.raises(BundleError, match="outside the bundle"):
        bundle.parse(bundle.dump(replace(ABOUT, files={**ABOUT.files, "pickle": File(name, 30)})), "here")


def part(*, file="pickle", offset=0, size=30, stored=None, codec="none"):
    return Part(file, offset, size, size if stored is None else stored, codec, "aa")


BUFFERS = part(file="buffers", size=164)


@pytest.mark.parametrize(
    "parts",
    [
        [BUFFERS],
        [part(size=29), BUFFERS],
        [part(size=31), BUFFERS],
        [part(size=10), part(offset=11, size=19), BUFFERS],
        [part(size=10), part(offset=9, size=21), BUFFERS],
        [part(offset=1, size=29), BUFFERS],
        [part(size=20), part(offset=20, size=-5), part(offset=15, size=15), BUFFERS],
        [part(size=0), part(size=30), BUFFERS],
        [part(), part(file="buffers", size=163)],
        [part(size=30.0), BUFFERS],
        [part(size=True), part(offset=1, size=29), BUFFERS],
    ],
)
def test_every_byte_has_a_hash_in_order_or_the_bundle_is_refused(parts):
    with pytest.raises(BundleError, match="no hash for every byte"):
        bundle.parse(bundle.dump(replace(ABOUT, parts=parts)), "here")


@pytest.mark.parametrize("kept", [part(codec="lz4"), part(codec=7), part(codec="lz4", stored=12)])
def test_bytes_kept_in_a_form_that_this_version_does_not_know_are_refused(kept):
    with pytest.raises(BundleError, match="can't read") as raised:
        bundle.parse(bundle.dump(replace(ABOUT, parts=[kept, BUFFERS])), "here")
    assert "upgrade" in raised.value.hint


def test_a_part_that_is_kept_as_it_is_has_its_own_size():
    files = ABOUT.files | {"pickle": File("model-1a2b3c4d.pkl", 12)}
    with pytest.raises(BundleError, match="another size"):
        bundle.parse(bundle.dump(replace(ABOUT, files=files, parts=[part(stored=12), BUFFERS])), "here")


COMPRESSED = [part(file="buffers", size=100, stored=40, codec="zstd"), part(file="buffers", offset=100, size=64)]


def test_of_a_compressed_file_the_parts_count_what_is_in_it_and_the_file_what_is_on_disk():
    files = ABOUT.files | {"buffers": File("model-5e6f7a8b.buffers", 104)}
    about = replace(ABOUT, files=files, parts=[part(), *COMPRESSED])
    assert bundle.parse(bundle.dump(about), "here") == about
    assert (about.content_size("buffers"), about.content_size("pickle")) == (164, 30)
    assert replace(about, parts=[part()]).content_size("buffers") == 0


@pytest.mark.parametrize("size", [103, 105, 164])
def test_a_compressed_file_is_as_large_as_its_parts_are_stored_or_the_bundle_is_refused(size):
    files = ABOUT.files | {"buffers": File("model-5e6f7a8b.buffers", size)}
    with pytest.raises(BundleError, match="no hash for every byte"):
        bundle.parse(bundle.dump(replace(ABOUT, files=files, parts=[part(), *COMPRESSED])), "here")


@pytest.mark.parametrize("stored", [0, -64, 64.0, True])
def test_what_is_stored_of_a_part_is_a_number_of_bytes_or_the_bundle_is_refused(stored):
    files = ABOUT.files | {"buffers": File("model-5e6f7a8b.buffers", 40 + stored)}
    parts = [part(), COMPRESSED[0], replace(COMPRESSED[1], codec="zstd", stored=stored)]
    with pytest.raises(BundleError, match="no hash for every byte"):
        bundle.parse(bundle.dump(replace(ABOUT, files=files, parts=parts)), "here")


@pytest.mark.parametrize(
    "buffers",
    [
        [],
        [(0, 100)],
        [(0, 165)],
        [(0, 100), (64, 100)],
        [(0, 100), (100, 64)],
        [(8, 92), (128, 36)],
        [(0, 100), (128, 36), (192, 10)],
        [(128, 36), (0, 100)],
        [(0, 100), (128, -36)],
        [(0, 164), (192, -28)],
        [(0, 100.0), (128, 36)],
    ],
)
def test_a_buffer_is_where_save_would_have_put_it_or_the_bundle_is_refused(buffers):
    with pytest.raises(BundleError, match="buffers"):
        bundle.parse(bundle.dump(replace(ABOUT, buffers=buffers)), "here")


@pytest.mark.parametrize("files", [{}, {"buffers": File("b", 164)}, {**ABOUT.files, "extra": File("e", 0)}])
def test_the_files_are_those_of_a_model(files):
    with pytest.raises(BundleError):
        bundle.parse(bundle.dump(replace(ABOUT, files=files)), "here")


@given(st.data())
def test_a_manifest_with_one_byte_changed_is_read_as_one_or_refused(data):
    text = bytearray(bundle.dump(ABOUT))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        about = bundle.parse(bytes(text), "here")
    except BundleError:
        return
    # What says where bytes are survives only unchanged; the hashes guard the bytes themselves.
    if about.format == 1:
        assert about.buffers == ABOUT.buffers or about.buffers[0][1] in range(65, 129)
        assert [each.size for each in about.parts] == [each.size for each in ABOUT.parts]


def test_a_folder_without_a_bundle_says_how_to_make_one(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match="no saved model in") as raised:
            bundle.read(folder)
        assert "thampi.save" in raised.value.hint


def test_a_file_where_the_folder_should_be_is_no_bundle(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(BundleError, match="no saved model in"):
        bundle.read(tmp_path / "model")


def test_a_thampi_json_that_can_not_be_read_is_said_to_be_there(tmp_path):
    (tmp_path / "thampi.json").mkdir()
    with pytest.raises(BundleError, match=r"can't read .*thampi.json"):
        bundle.read(tmp_path)
