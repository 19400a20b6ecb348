import re

from brainldm.core.story import STORY
from brainldm.formats.dag import BOX_HEIGHT, BOX_WIDTH, dag_svg, layers, reduced_edges

READS = {name: stage.reads for name, stage in STORY.items()}


def _reached(edges: list[tuple[str, str]], name: str) -> set[str]:
    direct = {source for source, target in edges if target == name}
    return direct.union(*(_reached(edges, source) for source in direct))


def test_a_shortcut_is_left_out_and_nothing_else() -> None:
    assert reduced_edges({"a": (), "b": ("a",), "c": ("a", "b")}) == [("a", "b"), ("b", "c")]


def test_the_reduced_story_reaches_what_the_whole_story_reaches() -> None:
    whole = [(source, name) for name, sources in READS.items() for source in sources]
    reduced = reduced_edges(READS)
    assert set(reduced) <= set(whole)
    assert all(_reached(reduced, name) == _reached(whole, name) for name in READS)


def test_every_edge_leads_down() -> None:
    edges = reduced_edges(READS)
    depth = layers(edges, list(READS))
    assert all(depth[source] < depth[name] for source, name in edges)


def test_every_stage_has_a_box_inside_the_picture_and_no_two_overlap() -> None:
    svg = dag_svg(READS)
    assert re.findall(r"<text[^>]*>([^<]+)</text>", svg) == list(READS)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())  # type: ignore[union-attr]
    boxes = [tuple(map(int, found)) for found in re.findall(r'<rect x="(-?\d+)" y="(-?\d+)"', svg)]
    assert all(0 <= x <= width - BOX_WIDTH and 0 <= y <= height - BOX_HEIGHT for x, y in boxes)
    for index, (x, y) in enumerate(boxes):
        assert all(abs(x - u) >= BOX_WIDTH or abs(y - v) >= BOX_HEIGHT for u, v in boxes[:index])
