"""Phantom runs that take seconds."""

import pytest
from small_run import small_cfg

from fx_mm.apis import build_runner


@pytest.fixture(scope='session')
def phantom_root(tmp_path_factory):
    """Phantoms of 64 px: 12 to train, 4 to validate and test a hospital."""
    return tmp_path_factory.mktemp('phantom')


@pytest.fixture
def make_cfg(phantom_root, tmp_path):
    """Make the small config, in a work directory of its own.

    Without the closing report, unless it is asked for: it takes as long as
    the training.
    """

    def make(work_dir='work', report=False, **options):
        if not report:
            options['test_cfg'] = None
        return small_cfg(phantom_root, tmp_path / work_dir, **options)

    return make


@pytest.fixture
def make_runner(make_cfg):
    """Make a built Runner."""

    def make(resume=False, **options):
        return build_runner(make_cfg(**options), resume=resume)

    return make
