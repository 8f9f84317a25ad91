"""A matplotlib figure that a notebook shows without pyplot."""

from __future__ import annotations

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Notebooks show figures that pyplot made; this one shows itself, sharp on dense screens as well."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        from fieldguide.reporting.rendering import to_png

        width, height = (round(96 * inches) for inches in self.get_size_inches())  # CSS has 96 px to the inch
        return to_png(self), {"width": width, "height": height}
