"""Weights that torch.save wrote, in files of strangers: structure and sizes are checked before torch reads them; no code is run.

torch.load(weights_only=True) runs no code either, but trusts sizes: a storage that claims more values than its member has is read beyond
its end, members may be compressed a thousandfold, and keys of nested tuples may take for ever to hash.
"""

import pickletools
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import check_size, open_regular

MOST_BYTES = 2**34
MOST_PICKLE_BYTES = 2**24
MOST_DIRECTORY_BYTES = 2**21  # of a zip: names and sizes of its members
MOST_OPCODES = 2_000_000
HEAVIEST = 1000  # values in a tuple, those within its values included
WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
DEEPEST = 4  # wrappers around a state dict
SHOWN = 3  # names in an error message
MEMBER = re.compile(r"[^/]{1,200}/(?:data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id|data/[0-9]+)")
LEGACY_PICKLES = 5  # magic number, version, machine, the object, keys of the storages
STORAGES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1}
GLOBALS = {
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}Storage" for name in STORAGES),
}
PUSHED = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING", "BINSTRING", "UNICODE", "SHORT_BINBYTES", "BINBYTES"),
    *("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"),
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
POPPED = {"APPEND": 1, "SETITEM": 2, "BUILD": 1, "POP": 1}
TO_MARK = {"APPENDS", "SETITEMS", "ADDITEMS", "POP_MARK"}
MARK = object()


class Item(NamedTuple):
    """A value on the stack of a pickle, or a stand-in for it, and how many values it holds in all where it is a tuple."""

    value: Any
    weight: int = 1


def read(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a file, out of the dictionaries and the `module.` that training scripts put around one.

    DataError, naming the file, for one that is damaged, holds anything but tensors by name, or claims sizes that it does not have.
    """
    try:
        _check(path)
    except Exception as error:  # whatever a damaged file makes zipfile and pickletools raise
        raise _refusal(path, printable(str(error).partition("\n")[0])) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged file makes torch raise; its words advise to run what the file holds
        raise _refusal(path, "torch finds something else than tensors") from None
    for _ in range(DEEPEST):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), None) if isinstance(found, dict) else None
        found = found if inner is None else inner
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: expected a state dict, found {type(found).__name__}")
    if other := [printable(name, 60) for name, value in found.items() if not _is_weight(name, value)]:
        raise DataError(f"{path}: expected a state dict, found a dictionary that holds no tensor of numbers at {listed(other)}")
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _refusal(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: expected a file of PyTorch weights, found none that can be read ({reason})")


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name, 160) for name in names[:SHOWN]) + more


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_complex()


def _check(path: Path) -> None:
    """ValueError unless the file is one that torch.save could have written of tensors, numbers and texts."""
    with open_regular(path) as handle:
        check_size(handle, path, MOST_BYTES)
        magic = handle.read(4)
        n_bytes = handle.seek(0, 2)
        handle.seek(0)
        if magic == b"PK\x03\x04":
            _check_zip(handle, n_bytes)
        elif magic[:2] == b"\x80\x02":
            for _ in range(LEGACY_PICKLES):
                _check_pickle(handle, {}, n_bytes)
        else:
            raise ValueError("neither a zip nor a pickle of torch.save")


def _check_zip(handle: BinaryIO, n_bytes: int) -> None:
    _check_directory(handle, n_bytes)
    with zipfile.ZipFile(handle) as archive:
        members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
        if len(members) < len(archive.infolist()) or "data.pkl" not in members:
            raise ValueError("the zip holds a name twice, or no data.pkl")
        for member in archive.infolist():
            if not MEMBER.fullmatch(member.filename):
                raise ValueError(f"the zip holds {printable(member.filename, 60)}, which torch.save writes of no weights")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size or member.file_size > n_bytes:
                raise ValueError(f"{member.filename} is compressed, or of another size than the zip says")
        if members["data.pkl"].file_size > MOST_PICKLE_BYTES:
            raise ValueError(f"data.pkl has more than {MOST_PICKLE_BYTES} bytes")
        sizes = {name.removeprefix("data/"): member.file_size for name, member in members.items() if name.startswith("data/")}
        with archive.open(members["data.pkl"]) as pickled:
            _check_pickle(pickled, sizes, 0)


def _check_directory(handle: BinaryIO, n_bytes: int) -> None:
    """Refuse a zip with a long list of members, before zipfile makes an object of each."""
    handle.seek(max(0, n_bytes - 2**17))
    tail = handle.read()
    handle.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        raise ValueError("the zip has no end")
    (size,) = struct.unpack_from("<L", tail, end + 12)
    longer = tail.rfind(b"PK\x06\x06", 0, end)
    if size == 2**32 - 1 and longer >= 0 and longer + 48 <= len(tail):
        (size,) = struct.unpack_from("<Q", tail, longer + 40)
    if size > MOST_DIRECTORY_BYTES:
        raise ValueError(f"the zip lists its members in {size} bytes; at most {MOST_DIRECTORY_BYTES} are read")


def _check_pickle(handle: Any, sizes: dict[str, int], most_bytes: int) -> None:
    """Follow a pickle's opcodes to its end without making what they make; ValueError for what torch.save writes of no weights.

    `sizes` are the bytes of the storages by key; where there are none, a storage has at most `most_bytes`.
    """
    stack: list[Any] = []
    memo: dict[int, Item] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(handle)):
        name = opcode.name
        if number > MOST_OPCODES:
            raise ValueError(f"its pickle has more than {MOST_OPCODES} instructions")
        if name in PUSHED:
            stack.append(Item(argument))
        elif name == "MARK":
            stack.append(MARK)
        elif name == "GLOBAL":
            if argument not in GLOBALS:
                raise ValueError(f"it calls {printable(argument, 60)}, which weights have no need of")
            stack.append(Item(argument))
        elif name == "TUPLE" or name in TUPLES:
            stack.append(_tuple(_popped(stack, TUPLES.get(name))))
        elif name in POPPED:
            _popped(stack, POPPED[name])
        elif name in TO_MARK:
            _popped(stack, None)
        elif name == "REDUCE":
            _, arguments = _popped(stack, 2)
            stack.append(Item(None, arguments.weight))
        elif name == "BINPERSID":
            _check_storage(_popped(stack, 1)[0].value, sizes, most_bytes)
            stack.append(Item(None))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[_place(argument, number)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[_place(argument, number)])
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"its pickle has the instruction {name}, which torch.save writes for no weights")


def _place(argument: Any, number: int) -> int:
    """The place in the memo, which is never beyond the number of instructions."""
    if not isinstance(argument, int) or not 0 <= argument <= number:
        raise ValueError("its pickle is damaged")
    return argument


def _popped(stack: list[Any], n: int | None) -> list[Item]:
    """The last `n` items of the stack, or those behind the last mark, taken from it."""
    place = len(stack) - n if n is not None else len(stack) - 1 - stack[::-1].index(MARK)
    if place < 0:
        raise ValueError("its pickle is damaged")
    found = stack[place if n is not None else place + 1 :]
    del stack[place:]
    if any(item is MARK for item in found):
        raise ValueError("its pickle is damaged")
    return found


def _tuple(items: list[Item]) -> Item:
    weight = 1 + sum(item.weight for item in items)
    if weight > HEAVIEST:
        raise ValueError(f"it holds tuples of more than {HEAVIEST} values")
    return Item(tuple(item.value for item in items), weight)


def _check_storage(identity: object, sizes: dict[str, int], most_bytes: int) -> None:
    """ValueError unless a storage (its type, key, device, number of values) has the bytes that it claims."""
    match identity:
        case ("storage", str(kind), str(key), str(), int(n), *_) if kind in GLOBALS and kind.endswith("Storage"):
            n_bytes = n * STORAGES[kind.removeprefix("torch ").removesuffix("Storage")]
        case _:
            raise ValueError("it refers to something that is no storage")
    if not 0 <= n_bytes <= (sizes.get(key, -1) if sizes else most_bytes):
        raise ValueError(f"the storage {printable(key, 40)} claims {n_bytes} bytes, and the file holds fewer")
