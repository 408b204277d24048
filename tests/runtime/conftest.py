"""What several of these tests need and is made once."""

from pathlib import Path

import pytest

from tests import certificates


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody trusts yet, and its key."""
    return certificates.write(tmp_path_factory.mktemp("certificate"))
