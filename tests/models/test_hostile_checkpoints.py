"""Checkpoints of strangers: each of these is one line that names the file and what is wrong, before memory is taken or time is spent."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bounded import refusal
from hostile_checkpoints import LOAD, SPECS, Entries, assemble, framed, parts

FIRST = "blocks.0.0.bias"  # a tensor of the age model


def spec(kind: str, /, **changes: Any) -> Callable[[Path], None]:
    """A sound checkpoint but for its spec; a value `...` leaves the key out."""

    def write(path: Path) -> None:
        told, entries, data = parts(kind)
        told = {key: value for key, value in {**told, **changes}.items() if value is not ...}
        path.write_bytes(assemble(told, entries, data))

    return write


def entry(**changes: Any) -> Callable[[Path], None]:
    """A sound age model but for what the header says of one tensor."""

    def write(path: Path) -> None:
        told, entries, data = parts("age")
        path.write_bytes(assemble(told, entries | {FIRST: entries[FIRST] | changes}, data))

    return write


def header(change: Callable[[Entries], Entries], tail: bytes = b"") -> Callable[[Path], None]:
    """A sound age model but for its list of tensors, or bytes behind them."""

    def write(path: Path) -> None:
        told, entries, data = parts("age")
        path.write_bytes(assemble(told, change(entries), data + tail))

    return write


def raw(content: bytes, data: bytes = b"") -> Callable[[Path], None]:
    return lambda path: path.write_bytes(framed(content, data)) and None


def values(name: str, number: bytes) -> Callable[[Path], None]:
    """A sound age model but for the first value of a tensor."""

    def write(path: Path) -> None:
        told, entries, data = parts("age")
        begin = entries[name]["data_offsets"][0]
        path.write_bytes(assemble(told, entries, data[:begin] + number + data[begin + len(number) :]))

    return write


def sparse(path: Path) -> None:
    """32 GB of nothing that a header describes to the last byte."""
    told = dict(SPECS["age"])
    n = 2**33
    values = {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}
    content = json.dumps({"__metadata__": {"spec": json.dumps(told)}, "a": values}).encode()
    path.write_bytes(framed(content, b""))
    os.truncate(path, 8 + len(content) + 4 * n)


def moved(entries: Entries) -> Entries:
    """Two tensors on the same bytes."""
    first, second = list(entries)[:2]
    return entries | {second: entries[first]}


def doubled_key() -> bytes:
    a = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    return b'{"__metadata__":{"spec":"{}"},' + a + b"," + a + b"}"


NAN, INF = b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"
BOMB = "[" * 100_000
CASES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    # the spec's values
    "a million channels": ("age", spec("age", channels=[10**6, 10**6]), r"channels\.0: .*4096"),
    "channels that the file does not hold": (
        "autoencoder",
        spec("autoencoder", channels=[4096] * 8),
        "multiple of|do not fit",
    ),
    "a thousand levels": ("diffusion", spec("diffusion", channels=[8] * 1000), "channels: .*8 items"),
    "levels of a segmenter": ("segmenter", spec("segmenter", levels=60), "levels: .*8"),
    "a billion blocks": ("diffusion", spec("diffusion", res_blocks=10**9), "res_blocks"),
    "a grid of petabytes": ("autoencoder", spec("autoencoder", shape=[10**5] * 3, standardise=False), r"shape\.0"),
    "a grid of 4 GB": ("autoencoder", spec("autoencoder", shape=[1024, 1024, 1024], standardise=False), "shape: .*voxels"),
    "a latent of terabytes": ("diffusion", spec("diffusion", latent_shape=[3, 4096, 4096, 4096]), "a latent has at most"),
    "a grid of no voxels": ("age", spec("age", shape=[0, 16, 16]), r"shape\.0"),
    "a grid of negative sides": ("age", spec("age", shape=[-16, 16, 16]), r"shape\.0"),
    "a grid of two sides": ("autoencoder", spec("autoencoder", shape=[16, 16]), r"shape\.2: missing"),
    "a fold of 0": ("age", spec("age", space_to_depth=0), "space_to_depth"),
    "a fold that divides no side": ("age", spec("age", space_to_depth=3), "multiple of 3"),
    "a fold in letters": ("age", spec("age", space_to_depth="2"), "space_to_depth"),
    "a number of channels that is true": ("age", spec("age", channels=[True, 4]), r"channels\.0"),
    "groups that divide no channels": ("autoencoder", spec("autoencoder", norm_groups=3), "multiple of 3"),
    "groups of 0": ("autoencoder", spec("autoencoder", norm_groups=0), "norm_groups"),
    "heads that divide no channels": ("diffusion", spec("diffusion", head_channels=[0, 3]), "head_channels"),
    "a head of 0 where a level attends": ("diffusion", spec("diffusion", head_channels=[0, 0]), "head_channels"),
    "attention of another length": ("diffusion", spec("diffusion", attention_levels=[True]), "one length"),
    "a range of one value": ("diffusion", spec("diffusion", ranges={"low": [0, 44, 7, 1100], "high": [1, 44, 170, 1800]}), "age_years"),
    "a range that falls": ("diffusion", spec("diffusion", ranges={"low": [0, 82, 7, 1100], "high": [1, 44, 170, 1800]}), "age_years"),
    "a range to infinity": ("diffusion", spec("diffusion", ranges={"low": [0, 44, 7, 1100], "high": [1, 82, 170, 1e999]}), "Infinity"),
    "a range of three": ("diffusion", spec("diffusion", ranges={"low": [0, 44, 7], "high": [1, 82, 170]}), r"ranges\.low\.3: missing"),
    "no range": ("diffusion", spec("diffusion", ranges=...), "ranges: missing"),
    "no channels": ("age", spec("age", channels=...), "channels: missing"),
    "an empty list of channels": ("age", spec("age", channels=[]), "channels"),
    "a key that no network has": ("age", spec("age", _target_="os.system"), "_target_"),
    "a prediction that is a module": ("diffusion", spec("diffusion", prediction="os.system"), "prediction"),
    "a trillion timesteps": ("diffusion", spec("diffusion", timesteps=10**12), "timesteps"),
    "no timesteps": ("diffusion", spec("diffusion", timesteps=0), "timesteps"),
    "noise that falls": ("diffusion", spec("diffusion", beta_start=0.5, beta_end=0.1), "beta_end"),
    "noise that is not a number": ("diffusion", spec("diffusion", beta_end=float("nan")), "NaN"),
    "no spread of the ages": ("age", spec("age", age_sd=0), "age_sd"),
    "labels of nobody": ("segmenter", spec("segmenter", labels=[0, 2, 3, 4, 24, 41, 42, 77]), "77"),
    "a label twice": ("segmenter", spec("segmenter", labels=[0, 2, 3, 4, 24, 41, 42, 42]), "twice"),
    "a label beyond a byte": ("segmenter", spec("segmenter", labels=[0, 2, 3, 4, 24, 41, 42, 70000]), "70000"),
    "a voxel of no volume": ("segmenter", spec("segmenter", voxel_ml=0), "voxel_ml"),
    "another kind": ("age", spec("segmenter"), "kind 'age', found 'segmenter'"),
    "a kind that is a list": ("age", spec("age", kind=["age"]), "kind 'age'"),
    "a spec with escape sequences": ("age", spec("age", **{"\x1b[31mred": 1, "a\nline": 2}), r"\\x1b"),
    "another architecture than its tensors": ("age", spec("age", channels=[8, 4]), r"do not fit .*blocks"),
    # the header's entries
    "a shape that its bytes do not fill": ("age", entry(shape=[5]), FIRST),
    "a shape of 2 ** 80 values": ("age", entry(shape=[2**40, 2**40]), FIRST),
    "a shape of negative sides": ("age", entry(shape=[-2, -2]), FIRST),
    "a shape of nine sides": ("age", entry(shape=[1] * 8 + [4]), FIRST),
    "a shape that is a number": ("age", entry(shape=4), FIRST),
    "a shape of fractions": ("age", entry(shape=[4.0]), FIRST),
    "a type of no numbers": ("age", entry(dtype="BOOL"), "BOOL"),
    "a type that is a module": ("age", entry(dtype="os.system"), "os.system"),
    "offsets that fall": ("age", entry(data_offsets=[16, 0]), FIRST),
    "offsets of 2 ** 70": ("age", entry(data_offsets=[2**70, 2**70 + 16]), FIRST),
    "one offset": ("age", entry(data_offsets=[0]), FIRST),
    "a key beside shape": ("age", entry(path="/etc/passwd"), "path"),
    "two tensors on the same bytes": ("age", header(moved), "begins at byte|does not fill|ends at"),
    "bytes behind the tensors": ("age", header(dict, b"slack"), "fill"),
    "no tensors": ("age", header(lambda _: {}), "fill 0 bytes"),
    "a name of a tensor with escapes": ("age", header(lambda found: {"\x1b]0;owned\x07": found.pop(FIRST), **found}), "name of a tensor"),
    "a name of half a letter": ("age", header(lambda found: {"\ud800": found.pop(FIRST), **found}), r"\\ud800"),
    "a tensor that is a text": ("age", header(lambda found: found | {FIRST: "a"}), FIRST),
    # the header as JSON
    "a key twice": ("age", raw(doubled_key(), bytes(4)), "twice"),
    "100,000 brackets": ("age", raw(BOMB.encode()), "nested|recursion"),
    "a spec of 100,000 brackets": ("age", raw(json.dumps({"__metadata__": {"spec": BOMB}}).encode()), "nested|recursion"),
    "a spec of brackets that close": ("age", raw(json.dumps({"__metadata__": {"spec": "[" * 90 + "]" * 90}}).encode()), "nested"),
    "a spec that is no object": ("age", raw(b'{"__metadata__":{"spec":"[1]"}}'), "no JSON object"),
    "a spec that is no text": ("age", raw(b'{"__metadata__":{"spec":{"kind":"age"}}}'), "no spec"),
    "no spec": ("age", raw(b'{"__metadata__":{}}'), "no spec"),
    "metadata that are a list": ("age", raw(b'{"__metadata__":[]}'), "no spec"),
    "no object": ("age", raw(b"[1, 2, 3]"), "no JSON object"),
    "no text": ("age", raw(b"\xff\xfe\x00\x01"), "none that can be read"),
    "a number of 5,000 digits": ("age", raw(b'{"a":' + b"9" * 5000 + b"}"), "none that can be read"),
    "a header of 2 ** 63 bytes": ("age", lambda path: path.write_bytes((2**63).to_bytes(8, "little") + b"{}") and None, "header"),
    "a header longer than the file": ("age", lambda path: path.write_bytes((500).to_bytes(8, "little") + b"{}") and None, "header"),
    "a header of 100 MB": ("age", raw(b'{"a":"' + b"a" * 10**8 + b'"}'), "header"),
    "200,000 tensors": (
        "age",
        raw(json.dumps({"__metadata__": {"spec": "{}"}} | {f"t{i}": 0 for i in range(200_000)}).encode()),
        "tensors",
    ),
    # the tensors
    "a weight that is not a number": ("age", values(FIRST, NAN), f"{FIRST} .*not finite"),
    "an infinite spread": ("age", values("spread", INF), "spread .*not finite"),
    # the file
    "an empty file": ("age", lambda path: path.write_bytes(b"") and None, "header|empty"),
    "7 bytes": ("age", lambda path: path.write_bytes(b"1234567") and None, "header"),
    "a folder": ("age", Path.mkdir, "a folder"),
    "a named pipe": ("age", os.mkfifo, "a named pipe"),
    "a device": ("age", lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a link to nothing": ("age", lambda path: path.symlink_to("/nowhere/at/all"), "no such file"),
    "a link to itself": ("age", lambda path: path.symlink_to(path), "symbolic links"),
    "no file": ("age", lambda path: None, "no such file"),
    "32 GB of nothing": ("age", sparse, "bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_checkpoint_is_one_line(case: str, tmp_path: Path) -> None:
    kind, write, words = CASES[case]
    path = tmp_path / "model.safetensors"
    write(path)
    said = refusal(lambda: LOAD[kind](path))
    assert str(path) in said
    assert re.search(words, said), said


@pytest.mark.parametrize("kind", list(SPECS))
def test_the_sound_ones_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    told, entries, data = parts(kind)
    path.write_bytes(assemble(told, entries, data, format="pt"))
    assert sum(parameter.numel() for parameter in LOAD[kind](path).parameters()) > 100
