"""Studios for the tests of this room."""

from pathlib import Path

import pytest
from credentials_studio import Studio, make_studio


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio that tests share: they add outputs of batches of their own, and change nothing else."""
    return make_studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def own_studio(tmp_path: Path) -> Studio:
    """A studio whose files a test may damage."""
    return make_studio(tmp_path / "studio")
