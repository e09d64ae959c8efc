"""What the tests of the preparation share."""

import pytest
from toy_release import Toy

from fx_mm.preparation import RELEASES, skipped


@pytest.fixture
def said(monkeypatch):
    """Collect what the readers of releases say they leave out."""
    messages = []
    monkeypatch.setattr(
        skipped, 'print_log', lambda text, **_: messages.append(text)
    )
    return messages


@pytest.fixture
def toy(tmp_path):
    """An empty release, registered as ``toy``."""
    yield Toy(tmp_path)
    del RELEASES['toy']
