"""Margins are inches, whatever the number of plots."""

import numpy as np
import pytest

from fx_mm.visualization.panels import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    make_panels,
)


@pytest.mark.parametrize('rows, columns', [(1, 1), (1, 4), (5, 4)])
def test_each_plot_has_its_room(rows, columns):
    figure, axes = make_panels(rows, columns, 4, 2.5, head=0.3)
    assert axes.shape == (rows, columns)
    size = figure.get_size_inches()
    assert size == pytest.approx([4 * columns, 2.5 * rows + 0.3])
    for row in range(rows):
        for column in range(columns):
            box = axes[row, column].get_position()
            corners = np.array([[box.x0, box.y0], [box.x1, box.y1]]) * size
            below = 2.5 * (rows - 1 - row)
            assert corners == pytest.approx(
                np.array(
                    [
                        [4 * column + LEFT, below + BOTTOM],
                        [4 * column + 4 - RIGHT, below + 2.5 - TOP],
                    ]
                )
            )
