"""Weight files of strangers, of torch.save and of Keras: nothing in them is run, unpacked beyond its size, or read from another file."""

import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras_files
import numpy as np
import pytest
import torch
from bounded import refusal
from bundle_files import SMALL_DIFFUSION, small_networks

from brainldm.models import bundle, medicalnet, synthseg

NAME = "conv_in.conv.bias"


class Runs:
    """Unpickled, it runs a command that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@cache
def sound() -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in small_networks()[1].state_dict().items()}


def saved(change: Callable[[dict[Any, Any], Path], Any]) -> Callable[[Path], None]:
    """What torch.save makes of a sound state dict, changed."""

    def write(path: Path) -> None:
        tensors: dict[Any, Any] = dict(sound())
        torch.save(change(tensors, path) or tensors, path)

    return write


def zipped(pickled: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Callable[[Path], None]:
    """A zip as torch.save lays it out, of any pickle and storages."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
            for name, content in members.items():
                archive.writestr(name.replace("__", "/"), content)

    return write


def of_storage(n: int, size: int, key: str = "0") -> bytes:
    """The pickle of one tensor of `size` values in a storage that claims `n`."""
    number = pickle.dumps
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX" + struct.pack("<L", len(key)) + key.encode() + b"X\x03\x00\x00\x00cpu"
    claimed = number(n, 2)[2:-1]
    sides = number((size,), 2)[2:-1] + number((1,), 2)[2:-1]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + claimed + b"tQK\x00" + sides + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}(X\x01\x00\x00\x00a" + tensor + b"u."


def nested_tuples(depth: int) -> bytes:
    """A dictionary whose key is a tuple of two of the same, to a depth: hashing it takes 2 ** depth steps."""
    pairs = (b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth))
    return b"\x80\x02})q\x00" + b"".join(pairs) + b"K\x01s."


def cyclic(tensors: dict[Any, Any], path: Path) -> dict[Any, Any]:
    wrapper: dict[Any, Any] = {}
    wrapper["state_dict"] = wrapper
    return wrapper


def wrapped(tensors: dict[Any, Any], path: Path) -> dict[Any, Any]:
    for _ in range(50):
        tensors = {"state_dict": tensors}
    return tensors


def set_to(make: Callable[[torch.Tensor], Any]) -> Callable[[Path], None]:
    """A sound file but for one tensor."""
    return saved(lambda tensors, path: tensors.update({NAME: make(tensors[NAME])}))


def cut(path: Path) -> None:
    saved(lambda tensors, _: tensors)(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def plain(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


TORCH: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pickle that runs a command": (saved(lambda tensors, path: {"a": Runs(path.with_name("mark"))}), "posix system"),
    "a tensor and a command": (saved(lambda tensors, path: tensors.update(x=Runs(path.with_name("mark")))), "posix system"),
    "a bare pickle that runs a command": (lambda path: path.write_bytes(pickle.dumps(Runs(path.with_name("mark")), 2)) and None, "system"),
    "a network": (saved(lambda tensors, path: torch.nn.Linear(2, 2)), "it calls"),
    "a compiled network": (lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(path), "torch.save writes of no weights|holds"),
    "a dictionary of itself": (saved(cyclic), "state dict"),
    "fifty wrappers": (saved(wrapped), "holds no tensor"),
    "a storage that claims more than it has": (zipped(of_storage(10**6, 10**6), archive__data__0=bytes(8)), "claims 4000000 bytes"),
    "a storage that claims an exabyte": (zipped(of_storage(2**60, 1), archive__data__0=bytes(8)), "claims"),
    "a storage that claims less than nothing": (zipped(of_storage(-5, 1), archive__data__0=bytes(8)), "claims"),
    "a storage that is not there": (zipped(of_storage(2, 2, "7"), archive__data__0=bytes(8)), "claims"),
    "a storage in another folder": (zipped(of_storage(2, 2, "../../x"), archive__data__0=bytes(8)), "claims"),
    "a tensor beyond its storage": (zipped(of_storage(2, 10**9), archive__data__0=bytes(8)), "expected a"),
    "a bomb of zeros": (zipped(of_storage(2**29, 1), zipfile.ZIP_DEFLATED, archive__data__0=bytes(2**28)), "compressed"),
    "a member out of the folder": (zipped(of_storage(2, 2), archive__data__0=bytes(8), **{"..__..__mark": b"x"}), r"\.\./\.\./mark"),
    "a member of code": (zipped(of_storage(2, 2), archive__data__0=bytes(8), **{"archive__code__x.py": b"x"}), "code/x.py"),
    "40,000 members": (zipped(b"\x80\x02}.", **{f"archive__data__{i}": b"" for i in range(40_000)}), "lists its members"),
    "no pickle": (lambda path: zipfile.ZipFile(path, "w").writestr("archive/version", "3"), "data.pkl|end"),
    "keys of nested tuples": (zipped(nested_tuples(100)), "tuples of more than"),
    "keys of tuples": (zipped(nested_tuples(3)), "something else than tensors"),
    "a memo of gigabytes": (zipped(b"\x80\x02}r\xff\xff\xff\x7f."), "damaged"),
    "a pickle of another protocol": (zipped(pickle.dumps({"a": 1}, 4)), "instruction"),
    "a pickle without end": (zipped(b"\x80\x02}"), "expected a file of PyTorch weights"),
    "numbers in the place of tensors": (saved(lambda tensors, path: {"a": 1.0}), "holds no tensor"),
    "names that are numbers": (saved(lambda tensors, path: {1: torch.zeros(2)}), "holds no tensor"),
    "names with escape sequences": (saved(lambda tensors, path: {"\x1b[31mred\n": torch.zeros(2)}), r"\\x1b"),
    "a sparse tensor": (set_to(lambda tensor: tensor.to_sparse()), "it calls torch._utils _rebuild_sparse_tensor"),
    "a tensor of nowhere": (set_to(lambda tensor: tensor.to("meta")), "it calls"),
    "a complex tensor": (set_to(lambda tensor: tensor.to(torch.complex64)), "it calls torch ComplexFloatStorage"),
    "a quantised tensor": (set_to(lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8)), "it calls"),
    "a tensor of another shape": (set_to(lambda tensor: torch.zeros(10**7)), "of shape"),
    "a tensor that is not a number": (set_to(lambda tensor: tensor * float("nan")), f"{NAME} holds numbers that are not finite"),
    "a truncated file": (cut, "expected a file of PyTorch weights"),
    "a text": (plain(b"not weights"), "neither a zip nor a pickle"),
    "a tar": (plain(b"storages" + bytes(2000)), "neither a zip nor a pickle"),
    "an empty file": (plain(b""), "neither a zip nor a pickle"),
    "a named pipe": (os.mkfifo, "a named pipe"),
    "a folder": (Path.mkdir, "a folder"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}  # fmt: skip


@pytest.mark.parametrize("case", TORCH)
def test_a_hostile_file_of_torch_is_one_line_and_runs_nothing(case: str, tmp_path: Path) -> None:
    write, words = TORCH[case]
    path = tmp_path / "model.pt"
    write(path)
    said = refusal(lambda: bundle.read_diffusion(path, SMALL_DIFFUSION))
    assert str(path) in said
    assert re.search(words, said), said
    assert not (tmp_path / "mark").exists()


def layers(**changes: Any) -> dict[str, dict[str, np.ndarray]]:
    return {**keras_files.random_layers((2, 3), labels=33), **changes}


def keras(change: Callable[[h5py.File, Path], object]) -> Callable[[Path], None]:
    """Sound weights of SynthSeg, changed."""

    def write(path: Path) -> None:
        keras_files.write(path, keras_files.random_layers((2, 3), labels=33))
        with h5py.File(path, "r+") as handle:
            change(handle, path)

    return write


FIRST, BIAS = "unet_conv_downarm_0_0", "unet_conv_downarm_0_0/unet_conv_downarm_0_0/bias:0"


def other(**options: Any) -> Callable[[Path], None]:
    """One array in the place of another, as h5py makes it with options."""

    def change(handle: h5py.File, path: Path) -> None:
        del handle[BIAS]
        handle.create_dataset(BIAS, **options)

    return keras(change)


def linked(link: object) -> Callable[[Path], None]:
    def change(handle: h5py.File, path: Path) -> None:
        (path.parent / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
        keras_files.write(path.parent / "secret.h5", keras_files.random_layers((2, 3), labels=33))
        del handle[BIAS]
        handle[BIAS] = link

    return keras(change)


def outside(path: Path) -> None:
    (path.parent / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    other(shape=(2,), dtype="f4", external=[(str(path.parent / "secret.bin"), 0, 8)])(path)


def virtual(handle: h5py.File, path: Path) -> None:
    keras_files.write(path.parent / "secret.h5", keras_files.random_layers((2, 3), labels=33))
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(path.parent / "secret.h5"), BIAS, (2,))
    del handle[BIAS]
    handle.create_virtual_dataset(BIAS, layout)


def many_names(handle: h5py.File, path: Path) -> None:
    handle.attrs.create("layer_names", np.zeros(60_000, "S1"))


def long_names(handle: h5py.File, path: Path) -> None:
    """3,000 references to one text of 1 MB."""
    handle.attrs["layer_names"] = ["x" * 2**20, *(name for name in handle)]


def named(name: str) -> Callable[[Path], None]:
    """A layer of another name beside the sound ones."""

    def change(handle: h5py.File, path: Path) -> None:
        group = handle.create_group(name)
        group.attrs["weight_names"] = [f"{name}/bias:0"]
        group[f"{name}/bias:0"] = np.zeros(2, np.float32)

    return keras(change)


KERAS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an array of a terabyte, which takes no room": (other(shape=(2**38,), dtype="f4"), "compressed, empty"),
    "an array that unpacks to 4 GB": (other(shape=(2**30,), dtype="f4", chunks=(2**20,), compression="gzip"), "compressed"),
    "a compressed array": (other(data=np.zeros(2, np.float32), chunks=(2,), compression="gzip"), "compressed"),
    "an array in another file": (outside, "another file"),
    "a virtual array of another file": (keras(virtual), "another file"),
    "a link to another file": (linked(h5py.ExternalLink("secret.h5", BIAS)), "is a link"),
    "a link within the file": (linked(h5py.SoftLink("/")), "is a link"),
    "a link to itself": (linked(h5py.SoftLink(BIAS)), "is a link"),
    "whole numbers": (other(data=np.zeros(2, int)), "floating-point"),
    "texts": (other(data=np.array([b"a", b"b"])), "floating-point"),
    "references": (other(shape=(2,), dtype=h5py.ref_dtype), "floating-point"),
    "six axes": (other(data=np.zeros((1,) * 6, np.float32)), "floating-point"),
    "a group in the place of an array": (keras(lambda handle, path: [handle.pop(BIAS), handle.create_group(BIAS)]), "floating-point"),
    "60,000 names": (keras(many_names), "list of at most|can be read"),
    "a name of 1 MB": (keras(long_names), "a text of"),
    "2,000 groups": (keras(lambda handle, path: [handle.create_group(f"g{i}") for i in range(2000)]), "groups"),
    "100 billion convolutions": (named("unet_conv_downarm_0_99999999999"), "can be read|expected|none"),
    "99 convolutions": (named("unet_conv_downarm_0_98"), "no such layer"),
    "99 levels": (named("unet_conv_downarm_98_0"), "no such layer"),
    "numbers that are not": (other(data=np.full(2, np.nan, np.float32)), "finite"),
    "a named pipe": (os.mkfifo, "a named pipe"),
    "a folder": (Path.mkdir, "a folder"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "an empty file": (plain(b""), "empty"),
    "a zip": (zipped(b""), "another kind of file"),
}  # fmt: skip


@pytest.mark.parametrize("case", KERAS)
def test_a_hostile_file_of_keras_is_one_line(case: str, tmp_path: Path) -> None:
    write, words = KERAS[case]
    path = tmp_path / "synthseg.h5"
    write(path)
    if case == "100 billion convolutions":  # a layer that no network of SynthSeg has: passed over
        assert synthseg.load(path).labels
        return
    said = refusal(lambda: synthseg.load(path))
    assert str(path) in said
    assert re.search(words, said), said


def test_legacy_files_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert "MedicalNet" in refusal(lambda: medicalnet.load(path))
    path.write_bytes(re.sub(rb"(cpuq.)K\x04", lambda found: found[1] + b"J\xff\xff\xff\x7f", content, count=1, flags=re.S))
    assert "claims" in refusal(lambda: medicalnet.load(path))
    buffer = io.BytesIO()
    torch.save({"a": Runs(tmp_path / "mark")}, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(buffer.getvalue())
    assert "posix system" in refusal(lambda: medicalnet.load(path))
    assert not (tmp_path / "mark").exists()
