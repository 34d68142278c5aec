"""Curves as SVG, drawn from numbers alone: no script, no request, legible in a terminal's browser."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["Points", "chart", "thinned", "ticks"]

#: (x, y) of one line, x rising.
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 34
#: Told apart by who sees no colours, too: each has a dash of its own (Okabe and Ito's palette).
_STROKES = (("#0072b2", ""), ("#d55e00", "6 3"), ("#009e73", "2 2"), ("#cc79a7", "8 3 2 3"))
_MOST_POINTS = 500


def chart(title: str, lines: Mapping[str, Points], *, x: str = "updates", y: str = "") -> str:
    """Return a figure with lines over a common x, as an ``svg`` element; an empty string where there are no points.

    Args:
        title: of the chart.
        lines: name -> points; what is not finite is left out, and long lines are thinned.
        x: what the horizontal axis counts.
        y: unit of the vertical one.

    Example:
        >>> drawn = chart("Loss", {"training": [(0, 9.0), (10, 5.5)]})
        >>> drawn.startswith("<svg"), drawn.count("<polyline"), "Loss" in drawn
        (True, 1, True)
        >>> chart("Loss", {"training": []})
        ''
    """
    kept = {
        name: thinned([p for p in points if all(map(math.isfinite, p))]) for name, points in lines.items()
    }
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return ""
    every = [point for points in kept.values() for point in points]
    across = ticks(min(px for px, _ in every), max(px for px, _ in every))
    up = ticks(min(py for _, py in every), max(py for _, py in every))

    def place(px: float, py: float) -> tuple[float, float]:
        along = (px - across[0]) / (across[-1] - across[0])
        high = (py - up[0]) / (up[-1] - up[0])
        return (
            round(_LEFT + along * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - high * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    box, named = f'viewBox="0 0 {WIDTH} {HEIGHT + 24}"', f'role="img" aria-label="{escape(title)}"'
    parts = [f'<svg {box} {named} xmlns="http://www.w3.org/2000/svg">']
    for tick in up:
        left, height = place(across[0], tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - _RIGHT}" y1="{height}" y2="{height}"/>')
        parts.append(f'<text x="{left - 6}" y="{height + 4}" text-anchor="end">{short(tick)}</text>')
    for tick in across:
        along, bottom = place(tick, up[0])
        parts.append(f'<text x="{along}" y="{bottom + 16}" text-anchor="middle">{short(tick)}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{escape(x)}</text>')
    if y:
        parts.append(f'<text x="{_LEFT + 4}" y="{_TOP + 2}">{escape(y)}</text>')
    at = _LEFT
    for number, (name, points) in enumerate(kept.items()):
        colour, dash = _STROKES[number % len(_STROKES)]
        style = f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        drawn = " ".join(f"{px},{py}" for px, py in (place(*point) for point in points))
        if len(points) == 1:
            px, py = place(*points[0])
            parts.append(f'<circle cx="{px}" cy="{py}" r="3" fill="{colour}"/>')
        parts.append(f'<polyline {style} points="{drawn}"/>')
        parts.append(f'<line {style} x1="{at}" x2="{at + 24}" y1="{HEIGHT + 12}" y2="{HEIGHT + 12}"/>')
        parts.append(f'<text x="{at + 30}" y="{HEIGHT + 16}">{escape(name)}</text>')
        at += 50 + 7 * len(name)
    return "".join([*parts, "</svg>"])


def thinned(points: Points, most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most so many points: each the mean of as many neighbours.

    Example:
        >>> thinned([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], most=2)
        [(0.5, 2.0), (2.5, 6.0)]
    """
    size = math.ceil(len(points) / most)
    groups = [points[start : start + size] for start in range(0, len(points), size)] if size else []
    if size == 1:
        return [(px, py) for px, py in points]
    return [
        (sum(px for px, _ in group) / len(group), sum(py for _, py in group) / len(group)) for group in groups
    ]


def ticks(least: float, most: float, about: int = 5) -> list[float]:
    """Return round numbers that take in a range; two at least.

    Example:
        >>> ticks(0, 97)
        [0, 20, 40, 60, 80, 100]
        >>> ticks(2.0, 2.0)
        [1.0, 1.5, 2.0, 2.5, 3.0]
    """
    if most - least <= 1e-9 * max(abs(least), abs(most)):  # ticks are shown with twelve digits at most
        least, most = (least - abs(least) / 2 or -1.0, most + abs(most) / 2 or 1.0)
    rough = (most - least) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(size * magnitude for size in (1, 2, 2.5, 5, 10) if size * magnitude >= rough * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    whole = step >= 1 and step == int(step)
    found = [number * step for number in range(first, max(last, first + 1) + 1)]
    return [int(tick) for tick in found] if whole else [float(f"{tick:.12g}") for tick in found]


def short(value: float) -> str:
    """Return a number as an axis shows it.

    Example:
        >>> [short(number) for number in (0, 0.25, 0.0006, 1500, 2_000_000)]
        ['0', '0.25', '0.0006', '1,500', '2M']
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1000:
        return f"{value:,.10g}"
    return f"{value:g}"
