"""One reader of YAML: what other readers understand otherwise, expand, run or wait for is one line; ordinary files are what they were."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from bounded import refusal

from brainldm.commands.run import check_keys, configurations
from brainldm.core.config import parse
from brainldm.core.errors import ConfigError
from brainldm.core.yaml_file import read_yaml
from brainldm.formats.raw_table import read_mapping
from brainldm.formats.settings import read_config

ROOT = Path(__file__).parents[2]
DEMO = (ROOT / "config.yaml").read_text()
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
CASES = {
    "a billion laughs": (LAUGHS, "alias"),
    "a billion laughs in a section": (DEMO.replace("seed:", "x: {y: &y [1], z: [*y, *y]}\nseed:", 1), "alias"),
    "an alias of itself": ("seed: &a [*a]\n", "alias"),
    "a merge of an alias": ("a: &a {seed: 1}\n<<: *a\n", "alias"),
    "a merge": ("<<: {seed: 1}\n", "a key must be a word"),
    "a key twice": (DEMO + "\nseed: 2\n", "seed stands there twice"),
    "a nested key twice": ("encode: {batch_size: 1, batch_size: 2}\n", "batch_size stands there twice"),
    "a key twice in two forms": ("1: a\n1.0: b\n", "twice"),
    "a call of Python": ("seed: !!python/object/apply:os.system [touch pwned]\n", "tag"),
    "a module of Python": ("seed: !!python/module:os\n", "tag"),
    "a tag of somebody's": ("seed: !load /etc/passwd\n", "tag"),
    "bytes": ("seed: !!binary aGVsbG8=\n", "tag"),
    "a set": ("seed: !!set {a, b}\n", "tag"),
    "octal": ("seed: 010\n", "010 means different numbers"),
    "sexagesimal": ("seed: 1:30\n", "1:30 means different numbers"),
    "underscores": ("seed: 1_000\n", "1_000 means different numbers"),
    "hexadecimal": ("seed: 0x1F\n", "0x1F means different numbers"),
    "binary": ("seed: 0b11\n", "0b11 means different numbers"),
    "infinity": ("seed: .inf\n", "inf"),
    "not a number": ("seed: .nan\n", "nan"),
    "a number of 100,000 digits": ("seed: " + "9" * 100_000 + "\n", "40 characters"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "second document"),
    "100,000 brackets": ("seed: " + "[" * 100_000, "nest"),
    "100,000 braces": ("{" * 100_000, "nest"),
    "100,000 dashes": ("- " * 100_000, "nested"),
    "100,000 question marks": ("? " * 100_000, "nested|key"),
    "a list as a key": ("? [1, 2]\n: b\n", "a key must be a word"),
    "no key": (": b\n", "does not parse|a key must be a word"),
    "a million values": ("a: [" + "1," * 400_000 + "]\n", "more than"),
    "escape sequences": ("seed: \x1b]0;owned\x07\n", "control characters"),
    "escape sequences in a key": ('"\\e[31mred": 1\n', r"\\x1b\[31mred"),
    "a line break in a key": ('"a\\nbrainldm: error: b": 1\n', r"a\\nbrainldm"),
    "a text direction": ('"\\u202Eevil": 1\n', r"\\u202e"),
    "4 MB": ("# " + "x" * 4_000_000, "bytes"),
    "no text": ("seed: \udcff\n", "does not parse"),
    "16-bit text": ("\ufeffseed: 1\x00", "does not parse"),
    "a tab": ("a:\n\t- 1\n", "does not parse"),
    "an empty file": ("", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("read", [read_config, read_mapping])
@pytest.mark.parametrize("case", CASES)
def test_a_hostile_configuration_or_mapping_is_refused(case: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    text, words = CASES[case]
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def on_one_line() -> None:
        try:
            read(path)
        except ConfigError as error:
            raise ConfigError(" ".join(str(error).split("\n"))) from None  # a fault a line

    said = refusal(on_one_line)
    assert said.startswith(str(path)) or f"Cannot read {path}" in said, said
    assert re.search(words, said), said
    assert not list(tmp_path.glob("pwned"))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "mine.yaml")
    assert "mine.yaml" in refusal(lambda: read_config(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *ROOT.glob("workflow/presets/*.yaml"), ROOT / "tests/tiny/config.yaml"], ids=str)
def test_the_shipped_configurations_mean_what_snakemake_reads(path: Path) -> None:
    assert read_config(path) == parse(yaml.safe_load(path.read_text()))


def test_ordinary_words_stay_what_they_were(tmp_path: Path) -> None:
    text = "a: yes\nb: 1e-4\nc: 2026-11-21\nd: ~\ne: 'it''s'\nf: [1, -2, 3.5, .5]\ng: {h: true, i: null}\n"
    text += 'j: "010"\nk: |\n  two\n  lines\nl: 08\n'
    (tmp_path / "a.yaml").write_text("\ufeff" + text, encoding="utf-8")
    wanted = {"a": "yes", "b": 1e-4, "c": "2026-11-21", "d": None, "e": "it's", "f": [1, -2, 3.5, 0.5], "g": {"h": True, "i": None}}
    assert read_yaml(tmp_path / "a.yaml") == wanted | {"j": "010", "k": "two\nlines\n", "l": "08"}


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["all"], []),
        (["--configfile", "a.yaml", "b.yaml", "--forceall"], ["a.yaml", "b.yaml"]),
        (["--configfile=a.yaml", "--cores", "2", "--configfiles", "c.yaml"], ["a.yaml", "c.yaml"]),
    ],
)
def test_the_configurations_that_snakemake_is_given_are_found(words: list[str], files: list[str]) -> None:
    assert configurations(words) == [Path(name) for name in files]


YTE = "__use_yte__: true\nseed:\n  ?import os; os.system('touch pwned')\n"


@pytest.mark.parametrize("text", [YTE, LAUGHS, "__definitions__:\n  - import os\n"])
def test_run_hands_snakemake_no_configuration_that_it_would_execute_or_expand(text: str, tmp_path: Path) -> None:
    """Snakemake processes a configuration with YTE, whose keys hold expressions of Python."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert "mine.yaml" in refusal(lambda: check_keys(path))
    assert not list(tmp_path.glob("pwned"))
