"""What SynthSeg knows of its labels: which networks have which, left-right partners, and what must hang together (Billot et al. 2023)."""

from brainldm.core.labels import CSF, ICV, MIRRORED, NAMES

# Labels of one class form one connected body; background and csf are in none.
_LEFT = ((2, 3, 4, 5), (7, 8), (10,), (11,), (12,), (13,), (17,), (18,), (26,), (28,))
CLASSES = ((14,), (15,), (16,), *_LEFT, *(tuple(MIRRORED[value] for value in members) for members in _LEFT))

VERSIONS = {"1.0": tuple(value for value in NAMES if value != CSF), "2.0": tuple(NAMES)}  # in the order of the network's channels


def mirror(labels: tuple[int, ...]) -> tuple[int, ...]:
    """For every channel, the channel of the same structure in the mirrored brain."""
    return tuple(labels.index(MIRRORED.get(value, value)) for value in labels)


def volume_table(labels: tuple[int, ...], volumes_mm3: list[float]) -> dict[str, float]:
    """One volume per label, background first and ignored -> SynthSeg's columns in its order, to 3 decimals; 2.0 begins with the sum."""
    named = {NAMES[value]: volume for value, volume in zip(labels[1:], volumes_mm3[1:], strict=True)}
    total = {ICV: sum(named.values())} if labels == VERSIONS["2.0"] else {}
    return {name: round(volume, 3) for name, volume in (total | named).items()}
