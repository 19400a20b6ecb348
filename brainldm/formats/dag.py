"""The directed graph of stages as inline SVG: layers from top to bottom, one lane for every edge that passes a layer."""

from collections.abc import Mapping
from html import escape
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT, LANE_GAP, LAYER_GAP = 128, 26, 10, 22


def reduced_edges(reads: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Edges (from, to) that no longer path implies: the transitive reduction of an acyclic graph."""
    ancestors: dict[str, set[str]] = {}

    def reach(name: str) -> set[str]:
        if name not in ancestors:
            ancestors[name] = set(reads[name]).union(*(reach(source) for source in reads[name]))
        return ancestors[name]

    return [
        (source, name)
        for name, sources in reads.items()
        for source in sources
        if not any(source in reach(other) for other in sources if other != source)
    ]


def layers(edges: list[tuple[str, str]], names: list[str]) -> dict[str, int]:
    """The layer of every node: the length of the longest path that ends there."""
    layer = dict.fromkeys(names, 0)
    for _ in names:
        for source, name in edges:
            layer[name] = max(layer[name], layer[source] + 1)
    return layer


def _chains(edges: list[tuple[str, str]], layer: dict[str, int]) -> list[list[tuple[str, int]]]:
    """Every edge as its points (slot, layer); a long one gets a slot of its own in each layer that it passes."""
    return [
        [(source, layer[source]), *((f"{source}>{name}", depth) for depth in range(layer[source] + 1, layer[name])), (name, layer[name])]
        for source, name in edges
    ]


def _lanes(chains: list[list[tuple[str, int]]], layer: dict[str, int]) -> dict[tuple[str, int], float]:
    """Lane of every slot, centred on 0: in each layer sorted by the mean lane of the slots above, then by where they lead."""
    above: dict[tuple[str, int], list[tuple[str, int]]] = {(name, depth): [] for name, depth in layer.items()}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
    goal = {slot: chain[-1][1] for chain in chains for slot in chain[:-1]}
    lanes: dict[tuple[str, int], float] = {}
    for depth in range(max(layer.values()) + 1):
        slots = [slot for slot in above if slot[1] == depth]
        mean = {slot: sum(lanes[upper] for upper in above[slot]) / max(len(above[slot]), 1) for slot in slots}
        ordered = sorted(slots, key=lambda slot: (mean[slot], goal.get(slot, 0)))
        lanes.update({slot: place - (len(slots) - 1) / 2 for place, slot in enumerate(ordered)})
    return lanes


def dag_svg(reads: Mapping[str, tuple[str, ...]]) -> str:
    """The graph `reads` (node -> nodes it reads) as an SVG that takes its colours from the page (currentColor)."""
    edges = reduced_edges(reads)
    layer = layers(edges, list(reads))
    chains = _chains(edges, layer)
    lanes = _lanes(chains, layer)
    half = max(abs(lane) for lane in lanes.values()) + 0.5
    width, height = 2 * half * (BOX_WIDTH + LANE_GAP), (max(layer.values()) + 1) * (BOX_HEIGHT + LAYER_GAP)

    def point(slot: tuple[str, int]) -> tuple[float, float]:
        return (lanes[slot] + half) * (BOX_WIDTH + LANE_GAP), slot[1] * (BOX_HEIGHT + LAYER_GAP) + BOX_HEIGHT / 2 + 2

    lines = "".join(_edge([point(slot) for slot in chain]) for chain in chains)
    boxes = "".join(_box(name, *point((name, depth))) for name, depth in layer.items())
    return (
        f'<svg class="dag" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="The stages and what each reads">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>{lines}{boxes}</svg>'
    )


def _edge(points: list[tuple[float, float]]) -> str:
    (x, y), path = points[0], ""
    y += BOX_HEIGHT / 2
    path = f"M{x:.0f} {y:.0f}"
    for place, (next_x, next_y) in enumerate(points[1:], start=2):
        top = next_y - BOX_HEIGHT / 2
        middle = (y + top) / 2
        path += f" C{x:.0f} {middle:.0f} {next_x:.0f} {middle:.0f} {next_x:.0f} {top:.0f}"
        x, y = next_x, top
        if place < len(points):
            y = next_y + BOX_HEIGHT / 2
            path += f" V{y:.0f}"
    return f'<path d="{path}" fill="none" stroke="currentColor" opacity="0.55" marker-end="url(#arrow)"/>'


def _box(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{escape(name)}</text>'
    )
