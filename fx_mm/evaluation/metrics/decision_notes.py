"""What a reader must know of decisions at an operating point."""

from collections.abc import Mapping, Sequence
from math import isinf, isnan

from fx_mm.evaluation.statistics.operating_points import RATIOS


def decision_notes(
    classes: Sequence[str],
    values: Mapping[str, float],
    point: tuple[str, float],
    predict_on: str,
) -> list[str]:
    """Name the classes without a threshold, and infinite ratios.

    Args:
        classes (Sequence[str]): Of the task.
        values (Mapping[str, float]): Its results.
        point (tuple[str, float]): What the threshold has, and its rate.
        predict_on (str): Which model predicted.
    """
    notes = []
    nowhere = [name for name in classes if isnan(values[f'threshold/{name}'])]
    if nowhere:
        measure, rate = point
        notes.append(
            f'On the validation split no threshold has a {measure} of '
            f'{rate:g} and finds a positive image of {", ".join(nowhere)}, '
            'so they have no sensitivity, specificity, predictive values '
            f'and likelihood ratios ({predict_on}).'
        )
    infinite = [
        f'{key}/{name}'
        for key in RATIOS
        for name in classes
        if isinf(values[f'{key}/{name}'])
    ]
    if infinite:
        notes.append(
            f'{", ".join(infinite)}: infinite, since no image without the '
            'class is found (LR+) or left out (LR-), and so null in '
            f'results.json ({predict_on}).'
        )
    return notes
