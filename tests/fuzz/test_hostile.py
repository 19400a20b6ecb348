"""Headers of checkpoints and protocols, changed at random in their structure: taken, or refused in one line, and never a traceback."""

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile_checkpoints import LOAD, SPECS, assemble, framed, parts
from mutate import mutated
from protocols import sound_protocol

from brainldm import protocol
from brainldm.core.errors import BrainLDMError

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "os.system", "../../x",
    "/etc/passwd", "\x1b[31mred", "a\nb", "\u202e", "9" * 5000, [], {}, [[]], [{}], {"a": {"b": {}}}, [1] * 1000, ["x"] * 9,
    {"_target_": "os.system"}, "[" * 50, "nan", "1e999", "010", "1:30", "!!python/name:os.system", "*a", "&a b",
]  # fmt: skip
SLOWEST_S = 20.0


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested dictionaries and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(values: Any, draw: random.Random) -> Any:
    """A copy with one to three places removed, doubled, renamed or replaced by something strange."""
    found = {"": copy.deepcopy(values)}
    for _ in range(draw.randint(1, 3)):
        *above, last = draw.choice(list(places(found))[2:])
        holder: Any = found
        for key in above:
            holder = holder[key]
        kind = draw.randrange(5)
        if kind == 0 and isinstance(holder, dict) and above:
            holder[draw.choice(["_target_", "x" * 300, "\x1b[31m", str(last) + "s", ""])] = holder.pop(last)
        elif kind == 1 and above:
            del holder[last]
        elif kind == 2 and isinstance(holder, list):
            holder.extend(holder * draw.randint(1, 40))
        elif kind == 3 and isinstance(holder[last], int | float):
            holder[last] = holder[last] * draw.choice([-1, 0, 10, 10**6, 10**12, 1.5])
        else:
            holder[last] = copy.deepcopy(draw.choice(STRANGE))
    return found[""]


def checkpoint_inputs(draw: random.Random) -> tuple[str, bytes]:
    """The kind that is asked for, and a file: its spec, its entries or its bytes changed."""
    kind = draw.choice(list(SPECS))
    spec, entries, data = SOUND[kind]
    which = draw.randrange(4)
    if which == 0:
        return kind, assemble(changed(spec, draw), entries, data)
    if which == 1:
        return kind, assemble(spec, changed(entries, draw), data)
    if which == 2:
        header = {"__metadata__": {"spec": json.dumps(spec)}, **entries}
        return kind, framed(json.dumps(changed(header, draw)).encode("utf-8", "replace"), data)
    return kind, mutated(assemble(spec, entries, data), draw)


PROTOCOL = sound_protocol({"age": "0" * 64})
SOUND = {kind: parts(kind) for kind in SPECS}
TEXT = yaml.safe_dump(PROTOCOL, sort_keys=False)


def protocol_input(draw: random.Random) -> bytes:
    if draw.randrange(2):
        return mutated(TEXT.encode(), draw)
    text = yaml.dump(changed(PROTOCOL, draw), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return str(text).encode("utf-8", "replace")


def said(call: Callable[[], object]) -> str | None:
    """The message of our error that a call raises, or None."""
    try:
        call()
    except BrainLDMError as error:
        return str(error)
    return None


def fuzzed(n: int, make: Callable[[random.Random, Path], Callable[[], object]], path: Path) -> int:
    """How many of n inputs were refused; AssertionError for a message of several lines or without the file, or a slow one."""
    refused = 0
    for number in range(n):
        call = make(random.Random(number), path)
        begun = time.process_time()
        message = said(call)
        assert time.process_time() - begun < SLOWEST_S, number
        if message is not None:
            refused += 1
            assert message.isprintable(), (number, message)
            assert path.name in message, (number, message)
    return refused


def checkpoints(draw: random.Random, path: Path) -> Callable[[], object]:
    kind, content = checkpoint_inputs(draw)
    path.write_bytes(content)
    return lambda: LOAD[kind](path)


def protocols(draw: random.Random, path: Path) -> Callable[[], object]:
    path.write_bytes(protocol_input(draw))
    return lambda: protocol.read(path)


@pytest.mark.parametrize(("make", "n"), [(checkpoints, 300), (protocols, 300)])
def test_some_hundred_changed_headers_and_protocols(make: Any, n: int, tmp_path: Path) -> None:
    assert n / 2 < fuzzed(n, make, tmp_path / "input.safetensors") < n


@pytest.mark.slow
@pytest.mark.parametrize("make", [checkpoints, protocols])
def test_twenty_thousand_changed_headers_and_protocols(make: Any, tmp_path: Path) -> None:
    assert 10_000 < fuzzed(20_000, make, tmp_path / "input.safetensors") < 20_000
