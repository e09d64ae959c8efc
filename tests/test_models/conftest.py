import model_helpers as h
import pytest


@pytest.fixture(scope='module')
def shared_model():
    return h.build(noise=0.02)


@pytest.fixture
def model(shared_model):
    """A model of all kinds, released and in training mode."""
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    shared_model.consistency_weight = 0.5
    return shared_model
