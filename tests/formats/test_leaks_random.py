"""A random id, row or key of a lab, in a random spelling, at a random place of a release: always found."""

import random
from pathlib import Path

import pytest
from leak_plants import CAPACITY, FORMS, SPELLINGS, arrow, parquet, people

from brainldm.formats.leaks.check import findings

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
KEY_SPELLINGS = ("base64", "base64 for URLs", "hexadecimal", "hexadecimal, capitals", "hexadecimal with colons", "codes")


def random_id(draw: random.Random) -> str:
    """An id as labs give them: numbers, with a prefix or without, with leading zeros, or letters and digits."""
    number = draw.randrange(10**5, 10**8)
    return draw.choice(
        [
            f"sub-{draw.randrange(1, 3000):04d}",
            f"sub-{draw.randrange(1, 900):03d}",
            f"sub-{number}",
            f"sub-{draw.choice(LETTERS)}{draw.choice(LETTERS)}{number}",
            f"ukb-{number}",
            f"{number}",
            f"{draw.choice(LETTERS)}{draw.choice(LETTERS)}{draw.choice(LETTERS)}_{number}_{draw.randrange(9)}",
            f"sub-NDARINV{draw.choice(LETTERS)}{draw.randrange(100, 999)}{draw.choice(LETTERS)}{draw.choice(LETTERS)}",
        ]
    )


def random_row(draw: random.Random, row: dict[str, float]) -> str:
    """The covariates of a participant in any order, rounded to four digits or more, between other words."""
    values = [
        f"{row['age_years']:.1f}",
        f"{row['ventricles_ml']:.{draw.randrange(2, 5)}f}",
        f"{row['brain_ml']:.{draw.randrange(0, 5)}f}",
        draw.choice("FM"),
    ]
    draw.shuffle(values)
    return draw.choice([" ", "; ", " / ", ", x=", " | "]).join(values)


def plant(draw: random.Random, folder: Path) -> tuple[str, str, str]:
    """Make tables and key of a lab and a release that tells of them; returns form, text, and what the finding must name."""
    ids = list(dict.fromkeys(random_id(draw) for _ in range(60)))
    table = people(ids, draw.randrange(10**6))
    table.to_csv(folder / "covariates.tsv", sep="\t", index=False)
    (folder / "key").write_bytes(draw.randbytes(32))
    (folder / "release").mkdir()
    parquet(folder / "release", arrow())
    place = draw.randrange(len(ids))
    kind = draw.choice(["id", "id", "row", "key"])
    spelling = draw.choice(list(SPELLINGS if kind == "id" else KEY_SPELLINGS))
    if kind == "id":
        text, expected = SPELLINGS[spelling](ids[place]), f"'{ids[place]}'"
    elif kind == "row":
        text, expected = random_row(draw, table.iloc[place].to_dict()), f"of a training participant, '{ids[place]}'"
    else:
        text, expected = SPELLINGS[spelling]((folder / "key").read_bytes().decode("latin-1")), "key"
        text = key_text(spelling, (folder / "key").read_bytes())
    fitting = [form for form in FORMS if len(text.encode()) <= CAPACITY.get(form, 10_000)]
    form = draw.choice(fitting)
    FORMS[form](folder / "release", text if not form.startswith(("name", "tar: name")) else text.replace("/", "-"))
    return form, f"{kind}: {text}", expected


def key_text(spelling: str, key: bytes) -> str:
    """A key as text; SPELLINGS take text only."""
    import base64

    return {
        "base64": base64.b64encode(key).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(key).decode().rstrip("="),
        "hexadecimal": key.hex(),
        "hexadecimal, capitals": key.hex().upper(),
        "hexadecimal with colons": key.hex(":"),
        "codes": ", ".join(map(str, key)),
    }[spelling]


def check_seeds(seeds: range, folder: Path) -> None:
    missed = []
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir()
        form, text, expected = plant(random.Random(seed), own)
        found = [str(one) for one in findings(own / "release", own / "covariates.tsv", [own / "key"])]
        if not any(expected in line for line in found):
            missed.append((seed, form, text, found))
    assert not missed, f"{len(missed)} of {len(seeds)}: {missed[:20]}"


def test_a_random_plant_is_found(tmp_path: Path) -> None:
    check_seeds(range(80), tmp_path)


@pytest.mark.slow
def test_two_thousand_random_plants_are_found(tmp_path: Path) -> None:
    check_seeds(range(1000, 3000), tmp_path)
