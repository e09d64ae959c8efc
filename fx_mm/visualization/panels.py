"""Plots beside and under each other."""

from typing import Any

from matplotlib.figure import Figure

LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.15, 0.3, 0.5
"""Room around a plot, in inches: for the ticks and names of its axes and its
title."""


def make_panels(
    rows: int, columns: int, width: float, height: float, head: float = 0.0
) -> tuple[Figure, Any]:
    """Make a figure with a grid of plots.

    Its margins are fixed: matplotlib's layout engines measure each text of a
    picture, which takes as long as drawing it.

    Args:
        rows (int): Number of rows.
        columns (int): Number of columns.
        width (float): Of a plot with its margins, in inches.
        height (float): Of a plot with its margins, in inches.
        head (float): Room above all, in inches, for a title. Defaults to 0.

    Returns:
        tuple: The figure and its axes, an array (rows, columns).
    """
    total_width, total_height = width * columns, height * rows + head
    figure = Figure(figsize=(total_width, total_height))
    inner_width = width - LEFT - RIGHT
    inner_height = height - TOP - BOTTOM
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw=dict(
            left=LEFT / total_width,
            right=1 - RIGHT / total_width,
            top=1 - (TOP + head) / total_height,
            bottom=BOTTOM / total_height,
            wspace=(LEFT + RIGHT) / inner_width,
            hspace=(TOP + BOTTOM) / inner_height,
        ),
    )
    return figure, axes
