"""What a sampler hands to the dataset."""

from typing import NamedTuple


class SampleKey(NamedTuple):
    """Names one sample: which image, and which random transform of it.

    The seed travels with the image, so that a sample is the same whichever
    worker makes it, and no random state has to be saved for resuming.

    Args:
        task (int): Number of the task in the multi-task dataset.
        image (int): Number of the image within the task.
        seed (int): Seeds the transforms of this sample, 0 or above.
    """

    task: int
    image: int
    seed: int = 0
