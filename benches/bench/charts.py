"""Line charts on logarithmic axes as SVG that stands on a light and on a dark page."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 96, 44, 52
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #57606a }
.title { font-size: 14px; font-weight: 600; fill: #1f2328 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #8250df; fill: #8250df }
text.s0, text.s1, text.s2 { stroke: none; font-weight: 600 }
.line.s0, .line.s1, .line.s2 { fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #3d444d }
  .s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e } .s2 { stroke: #ab7df8; fill: #ab7df8 }
}
"""


def lines(title, x_title, y_title, series):
    """An SVG text. `series` has (name, [(x, y), …]) with positive numbers; a tick stands at every x."""
    series = [(name, sorted(points)) for name, points in series if points]
    xs = sorted({x for _, points in series for x, _ in points})
    ys = [y for _, points in series for _, y in points]
    x_of = scale(xs[0], xs[-1], LEFT, WIDTH - RIGHT)
    ticks = ticks_of(min(ys), max(ys))
    y_of = scale(min(ticks[0], min(ys)), max(ticks[-1], max(ys)), HEIGHT - BOTTOM, TOP)
    parts = [f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>']
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for x in xs:
        parts.append(f'<line class="grid" x1="{x_of(x):.1f}" x2="{x_of(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(y_title)}</text>')
    ends = spread([y_of(points[-1][1]) for _, points in series])
    for index, ((name, points), end) in enumerate(zip(series, ends)):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{index}" points="{path}"/>')
        for x, y in points:
            parts.append(f'<circle class="s{index}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5"><title>{escape(name)}: {y:.3g}</title></circle>')
        parts.append(f'<text class="s{index}" x="{x_of(points[-1][0]) + 10:.1f}" y="{end + 4:.1f}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def scale(low, high, start, end):
    """Places of numbers on a logarithmic axis; a single number stands in the middle."""
    span = math.log(high / low) if high > low else 0
    if span == 0:
        return lambda value: (start + end) / 2
    return lambda value: start + (end - start) * math.log(value / low) / span


def ticks_of(low, high):
    """Numbers such as 1, 10, 100 that enclose the values; 1, 2, 5, 10 where they lie close together."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if last - first > 2 else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    below = [tick for tick in ticks if tick <= low] or ticks[:1]
    above = [tick for tick in ticks if tick >= high] or ticks[-1:]
    return [tick for tick in ticks if below[-1] <= tick <= above[0]]


def spread(places, gap=16):
    """Moves labels apart that would lie on each other."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, after in zip(order, order[1:]):
        moved[after] = max(moved[after], moved[before] + gap)
    return moved


def short(number):
    """1 k, 2.5 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"
