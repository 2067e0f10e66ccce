"""A panel of a picture: points, lines, bars, shaded densities and tables as SVG, with two axes and a legend."""

import math
from collections.abc import Callable
from html import escape

import numpy as np
import torch

from scenariogen.report.figures import COLOURS, GRID, INK, SOFT

BLUE = COLOURS[0]
SHADES = ("#f0f4f8", "#d9e5ef", "#b9d2e5", "#93bbd8", "#6ba2c9")
WIDTH, HEIGHT = 760, 270
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 46, 44
SIDE = torch.linspace(0, 1, 61, dtype=torch.float64)


class Panel:
    """One of ``of`` panels side by side: a title, a legend under it, two axes, and what is drawn between them."""

    def __init__(
        self, place: tuple[int, int], title: str, x, y, xlabel: str, ylabel: str, *, log: str = "", left: int = LEFT
    ) -> None:
        self.number, of = place
        self.wide = WIDTH / of
        self.title, self.labels, self.log = title, (xlabel, ylabel), log
        self.x, self.y = (self._scaled(x, "x"), self._scaled(y, "y"))
        self.left, self.width, self.height = (
            self.number * self.wide + left,
            self.wide - left - RIGHT,
            HEIGHT - TOP - BOTTOM,
        )
        self.drawn: list[str] = []
        self.legend: list[tuple[str, str]] = []
        self.ticks: dict[str, dict[float, str]] = {}

    def _scaled(self, values, axis: str) -> np.ndarray:
        values = np.asarray(values, dtype=float)
        return np.log10(values) if axis in self.log else values

    def at(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of points, those far outside the axes held near them."""
        x = (self._scaled(x, "x") - self.x[0]) / (self.x[1] - self.x[0])
        y = (self._scaled(y, "y") - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + np.clip(x, -2, 3) * self.width, TOP + (1 - np.clip(y, -2, 3)) * self.height

    def _named(self, name: str, colour: str) -> None:
        if name:
            self.legend.append((name, colour))

    def points(self, x, y, colour: str = BLUE, *, name: str = "", size: float = 2.6, opacity: float = 0.6) -> None:
        self._named(name, colour)
        x, y = self.at(x, y)
        inside = (x >= self.left) & (x <= self.left + self.width) & (y >= TOP) & (y <= TOP + self.height)
        path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[inside], y[inside], strict=True))
        self.drawn.append(
            f'<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" opacity="{opacity}"/>'
        )

    def line(self, x, y, colour: str = BLUE, *, name: str = "", dash: str = "", width: float = 1.8) -> None:
        self._named(name, colour)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(*self.at(x, y), strict=True))
        self.drawn.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}" '
            f'clip-path="url(#c{self.number})"/>'
        )

    def bars(self, edges, heights, colour: str = BLUE, *, name: str = "", opacity: float = 0.35) -> None:
        self._named(name, colour)
        (left, top), (right, _) = self.at(edges[:-1], heights), self.at(edges[1:], heights)
        base = TOP + self.height
        path = "".join(f"M{a:.1f} {base}V{t:.1f}H{b:.1f}V{base}z" for a, b, t in zip(left, right, top, strict=True))
        self.drawn.append(f'<path d="{path}" fill="{colour}" opacity="{opacity}" clip-path="url(#c{self.number})"/>')

    def shade(self, density: Callable[[torch.Tensor], torch.Tensor], shades: tuple[str, ...] = SHADES) -> None:
        """A density of two numbers in five steps of its root, equal cells of a row as one path."""
        (x0, x1), (y0, y1) = self.x, self.y
        middle = (SIDE[1:] + SIDE[:-1]) / 2
        grid = torch.cartesian_prod(y0 + middle * (y1 - y0), x0 + middle * (x1 - x0)).flip(1)
        with torch.no_grad():
            values = density(grid).reshape(60, 60).numpy()
        steps = np.minimum((np.sqrt(values / values.max()) * 6).astype(int), 5)
        wide, high = self.width / 60, self.height / 60
        for step, colour in enumerate(shades, start=1):
            path = ""
            for row in range(60):
                ends = np.flatnonzero(np.diff(np.concatenate([[0], (steps[row] == step).astype(int), [0]])))
                for a, b in zip(ends[::2], ends[1::2], strict=True):
                    top = TOP + self.height - (row + 1) * high
                    run = (b - a) * wide
                    path += f"M{self.left + a * wide:.1f} {top:.1f}h{run:.1f}v{high + 0.1:.1f}h-{run:.1f}z"
            self.drawn.append(f'<path d="{path}" fill="{colour}"/>')

    def cells(self, table: np.ndarray) -> None:
        """A table of probabilities as shaded cells with their numbers; rows go up, columns to the right."""
        for (row, column), value in np.ndenumerate(table):
            (x0, x1), (y0, y1) = self.at([column - 0.5, column + 0.5], [row - 0.5, row + 0.5])
            colour = "#ffffff" if value == 0 else SHADES[min(int(value / table.max() * 5), 4)]
            self.drawn.append(
                f'<rect x="{x0:.1f}" y="{y1:.1f}" width="{x1 - x0:.1f}" height="{y0 - y1:.1f}" fill="{colour}" '
                f'stroke="#ffffff"/>'
                + text((x0 + x1) / 2, (y0 + y1) / 2 + 4, f"{value:.2f}" if value else "0", size=11)
            )

    def svg(self) -> str:
        """The panel with grid and axes."""
        base, end = TOP + self.height, self.left + self.width
        parts = [
            f'<clipPath id="c{self.number}"><rect x="{self.left:.1f}" y="{TOP}" width="{self.width:.1f}" '
            f'height="{self.height}"/></clipPath>'
        ]
        marks = []
        for axis, (low, high) in (("x", self.x), ("y", self.y)):
            for value, name in self.ticks.get(axis, ticks(low, high, log=axis in self.log)).items():
                place = (value - low) / (high - low)
                if axis == "x":
                    at = self.left + place * self.width
                    parts.append(f'<path d="M{at:.1f} {TOP}V{base}" stroke="{GRID}"/>')
                    marks.append(text(at, base + 15, name, size=11, colour=SOFT))
                else:
                    at = base - place * self.height
                    parts.append(f'<path d="M{self.left:.1f} {at:.1f}H{end:.1f}" stroke="{GRID}"/>')
                    marks.append(text(self.left - 6, at + 4, name, size=11, colour=SOFT, anchor="end"))
        parts += [
            *self.drawn,
            f'<path d="M{self.left:.1f} {TOP}V{base}H{end:.1f}" fill="none" stroke="{SOFT}"/>',
            *marks,
        ]
        parts.append(text(self.left, 16, self.title, weight="bold", anchor="start"))
        parts.append(text((self.left + end) / 2, HEIGHT - 10, self.labels[0]))
        middle, side = TOP + self.height / 2, self.number * self.wide + 14
        parts.append(f'<g transform="rotate(-90 {side:.1f} {middle})">{text(side, middle, self.labels[1])}</g>')
        at = self.left
        for name, colour in self.legend:
            parts.append(f'<circle cx="{at + 4:.1f}" cy="32" r="4" fill="{colour}"/>')
            parts.append(text(at + 12, 36, name, size=11, colour=SOFT, anchor="start"))
            at += 24 + 6.3 * len(name)
        return "\n".join(parts)


def text(x: float, y: float, words: str, *, size: int = 12, colour: str = INK, anchor="middle", weight="normal") -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def ticks(low: float, high: float, *, log: bool = False) -> dict[float, str]:
    """Places and names of about four round numbers; powers of ten on a logarithmic axis."""
    if log:
        every = max(1, math.ceil((math.floor(high) - math.ceil(low)) / 4))
        return {
            float(n): f"{10.0**n:g}" if -3 < n < 4 else f"1e{n}"
            for n in range(math.ceil(low), math.floor(high) + 1, every)
        }
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(m for m in (5, 2, 1) if m == 1 or (high - low) / (m * step) >= 3)
    found = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return {float(value): f"{value + 0.0:g}".replace("-", "−") for value in np.round(found, 9)}


def picture(panels: list[Panel]) -> str:
    """The panels side by side as an SVG document."""
    inside = "\n".join(panel.svg() for panel in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="DejaVu Sans, Verdana, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{inside}\n</svg>\n"
    )
