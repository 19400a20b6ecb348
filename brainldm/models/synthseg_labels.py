"""SynthSeg's labels: FreeSurfer ids, names of its volume table, left-right partners, and what must hang together (Billot et al. 2023)."""

MIDLINE = {0: "background", 14: "3rd ventricle", 15: "4th ventricle", 16: "brain-stem", 24: "csf"}
PAIRS = {  # left id, right id: structure
    (2, 41): "cerebral white matter",
    (3, 42): "cerebral cortex",
    (4, 43): "lateral ventricle",
    (5, 44): "inferior lateral ventricle",
    (7, 46): "cerebellum white matter",
    (8, 47): "cerebellum cortex",
    (10, 49): "thalamus",
    (11, 50): "caudate",
    (12, 51): "putamen",
    (13, 52): "pallidum",
    (17, 53): "hippocampus",
    (18, 54): "amygdala",
    (26, 58): "accumbens area",
    (28, 60): "ventral DC",
}
NAMES = MIDLINE | {value: f"{side} {name}" for pair, name in PAIRS.items() for value, side in zip(pair, ("left", "right"), strict=True)}
PARTNER = {value: value for value in MIDLINE} | {value: other for pair in PAIRS for value, other in (pair, pair[::-1])}
TOTAL = "total intracranial"

# Labels of one class form one connected body; background and csf are in none.
_LEFT = ((2, 3, 4, 5), (7, 8), (10,), (11,), (12,), (13,), (17,), (18,), (26,), (28,))
CLASSES = ((14,), (15,), (16,), *_LEFT, *(tuple(PARTNER[value] for value in members) for members in _LEFT))

VERSIONS = {"1.0": tuple(sorted(set(NAMES) - {24})), "2.0": tuple(sorted(NAMES))}  # labels in the order of the network's channels


def mirror(labels: tuple[int, ...]) -> tuple[int, ...]:
    """For every channel, the channel of the same structure in the mirrored brain."""
    return tuple(labels.index(PARTNER[value]) for value in labels)


def volume_table(labels: tuple[int, ...], volumes_mm3: list[float]) -> dict[str, float]:
    """One volume per label, background first and ignored -> SynthSeg's columns in its order, to 3 decimals; 2.0 begins with the sum."""
    named = {NAMES[value]: volume for value, volume in zip(labels[1:], volumes_mm3[1:], strict=True)}
    total = {TOTAL: sum(named.values())} if labels == VERSIONS["2.0"] else {}
    return {name: round(volume, 3) for name, volume in (total | named).items()}
