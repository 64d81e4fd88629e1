"""README's picture that moves: a 7 is drawn, the window of a unit grows layer by layer, "7".

Command line: `python -m tools.film` (part of `make report`) writes images/film.svg, an SVG with CSS
animations that GitHub shows as it stands. The digit, the maps and the answer are the stored
reference network's own, the windows are `receptive`'s.
"""

from base64 import b64encode
from io import BytesIO

import torch
from PIL import Image

from mnist_utils import command, data, results
from mnist_utils.explain import output_of
from mnist_utils.files import ROOT, write_atomically
from receptive import describe

FILE = ROOT / "images" / "film.svg"
# Layer -> its name in the film, in Model3's order.
LAYERS = {
    "block1.0": "conv", "block1.1": "conv", "block1.2": "conv", "pool": "pool", "block2.0": "conv",
    "block2.1": "conv", "block2.2": "conv", "block3": "conv", "gap": "mean",
}  # fmt: skip
PIXEL, LEFT, TOP = 9, 20, 44  # of the digit, in the picture's units
DRAWN, LAYER, END = 2.2, 1.0, 3.2  # seconds: to draw it, for each layer, and to read the answer
TOTAL = DRAWN + LAYER * len(LAYERS) + END

STYLE = """
svg { background: #fff; font: 15px system-ui, sans-serif; fill: #222 }
.ink, .late { animation: TOTALs linear infinite both }
.ink { shape-rendering: crispEdges }
.map { image-rendering: pixelated }
.frame { fill: none; stroke: #888 }
.window { fill: #d5550022; stroke: #d55500; stroke-width: 3 }
.small { font-size: 12px; fill: #666; text-anchor: middle }
.answer { font-size: 84px; font-weight: 600; fill: #d55500; text-anchor: middle }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; fill: #e6e6e6 } .small { fill: #aaa }
}
@media (prefers-reduced-motion: reduce) {
  .ink, .late { animation: none; opacity: 1 } .gone { opacity: 0 }
}
"""


def strokes(digit: torch.Tensor) -> list[tuple[int, int]]:
    """The inked pixels (row, column) in the order in which a pen would reach them."""
    left = {(int(r), int(c)) for r, c in (digit > 0.1).nonzero()}
    edge = [min(left, key=lambda at: (at[1] + at[0], at))]
    order = []
    while edge:
        order += edge
        left -= {*edge}
        around = {(r + i, c + j) for r, c in edge for i in (-1, 0, 1) for j in (-1, 0, 1)}
        edge = sorted(left & around)
    return order


def appears(element: str, second: float, until: float | None = None, kind: str = "late") -> str:
    """An element that is not there before a second of the film, nor after another."""
    name = f"t{100 * second:.0f}_{100 * (until or TOTAL):.0f}"
    start = 100 * second / TOTAL
    steps = [f"0%,{start:.2f}%{{opacity:0}}", f"{start + 0.6:.2f}%{{opacity:1}}"]
    if until:
        stop = 100 * until / TOTAL
        steps += [f"{stop:.2f}%{{opacity:1}}", f"{stop + 0.1:.2f}%{{opacity:0}}"]
    steps += [f"100%{{opacity:{int(not until)}}}"]
    rule = f"@keyframes {name}{{{''.join(steps)}}}"
    kind += " gone" if until else ""
    style = f'class="{kind}" style="animation-name:{name}"'
    return f"<style>{rule}</style><g {style}>{element}</g>"


def picture(values: torch.Tensor) -> str:
    """A map (H, W) as an image's address: light where it is large."""
    grey = 255 * (values - values.min()) / (values.max() - values.min()).clamp(min=1e-6)
    buffer = BytesIO()
    Image.fromarray(grey.round().byte().numpy()).save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def ink(digit: torch.Tensor) -> str:
    """The digit (28, 28), drawn six pixels at a time."""
    order, parts = strokes(digit), []
    for start in range(0, len(order), 6):
        squares = "".join(
            f'<rect {box(c, r, 1, 1)} fill="#fff" fill-opacity="{digit[r, c]:.2f}"/>'
            for r, c in order[start : start + 6]
        )
        parts.append(appears(squares, DRAWN * start / len(order), kind="ink"))
    return "".join(parts)


def box(column: float, row: float, width: float, height: float) -> str:
    """A rectangle's place, given in the digit's pixels."""
    x, y = LEFT + column * PIXEL, TOP + row * PIXEL
    return f'x="{x:g}" y="{y:g}" width="{width * PIXEL:g}" height="{height * PIXEL:g}"'


def window(row, name: str) -> str:
    """What the middle unit of a layer sees of the digit, and the words above it."""
    field = row.receptive_field
    first = row.start + row.output_shape[-1] // 2 * row.jump - (field - 1) / 2
    return (
        f'<rect class="window" {box(first, first, field, field)}/><text x="{LEFT}" '
        f'y="{TOP - 14}">a unit of {name} sees {field} × {field} pixels</text>'
    )


def layer_map(values: torch.Tensor, name: str, x: float, y: float) -> str:
    """A map (H, W) around a point, to scale, and its name."""
    units = values.shape[-1]
    size = max(3.2 * units, 9)
    place = f'x="{x - size / 2:g}" y="{y - size / 2:g}" width="{size:g}" height="{size:g}"'
    return (
        f'<image class="map" {place} href="{picture(values)}"/><rect class="frame" {place}/>'
        f'<text x="{x}" y="{y + 64}" class="small">{name}: {units} × {units}</text>'
    )


@torch.no_grad()
def film() -> str:
    """The whole SVG."""
    network, test = results.network("reference").eval(), data.load(train=False)
    images, rows = data.standardize(test.images[:1]), describe(network, (1, 28, 28))
    parts = [f'<rect {box(0, 0, 28, 28)} fill="#000"/>', ink(test.images[0] / 255)]
    left, second = LEFT + 28 * PIXEL + 90, DRAWN
    for number, (layer, kind) in enumerate(LAYERS.items()):
        name, last = f"{kind} {number + 1}", number == len(LAYERS) - 1
        parts.append(appears(window(rows[layer], name), second, None if last else second + LAYER))
        values = output_of(network, images, layer)[0].mean(0)
        place = left + 112 * (number % 5), TOP + 50 + 140 * (number // 5)
        parts.append(appears(layer_map(values, name, *place), second))
        second += LAYER
    answer, x = int(network(images).argmax()), left + 112 * 4
    said = f'<text class="answer" x="{x}" y="{TOP + 222}">{answer}</text>'
    said += f'<text class="small" x="{x}" y="{TOP + 254}">says Model3</text>'
    parts.append(appears(said, second))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x + 70} {TOP + 28 * PIXEL + 20}" '
        'role="img"><title>A 7 is drawn; the window that one unit sees grows layer by layer, from '
        f"3 to 28 pixels; the network says {answer}.</title>"
        f"<style>{STYLE.replace('TOTAL', f'{TOTAL:g}')}</style>{''.join(parts)}</svg>\n"
    )


def main() -> None:
    command.Parser(prog="python -m tools.film", description=__doc__).parse_args()
    write_atomically(FILE, film())


if __name__ == "__main__":
    command.run(main)
