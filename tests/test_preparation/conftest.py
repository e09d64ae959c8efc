"""What the tests of the preparation share."""

import pytest
from toy_raw import Toy

from fx_mm.preparation import RAW_DATASETS


@pytest.fixture
def toy(tmp_path):
    """An empty raw dataset, registered as ``toy``."""
    yield Toy(tmp_path)
    del RAW_DATASETS['toy']
