"""Which paths a command may write: what it did not make is touched only with --overwrite, and then file by file.

Commands call `check_file` or `check_folder` before they compute anything, and write to the path that is returned. A
folder that appears whole is built by `new_folder`. Stages write freely below results/, which Snakemake owns.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from brainldm.core.errors import OutputError
from brainldm.core.files import atomic_folder, writing

HELP = "replace files that are there under the names that are written; all others stay"
NAMED = 5  # files of a folder at most that an error names


def check_file(path: Path, overwrite: bool, inputs: Iterable[Path] = (), content: bytes | None = None) -> Path:
    """Return the path of a file that may be written.

    `content` is what will be written, where it is known: a file that holds it already is no obstacle.
    Raises OutputError for a file that is there without `overwrite`, for a link, a folder or a device, for one of the
    `inputs`, for a file inside a folder of the inputs, and where a parent is no folder.
    """
    with writing(path):
        return _check_file(without_dots(path), overwrite, inputs, content)


def _check_file(path: Path, overwrite: bool, inputs: Iterable[Path], content: bytes | None) -> Path:
    _check_parents(path)
    _check_inputs(path, inputs)
    if not os.path.lexists(path):
        return path
    _check_replaceable(path)
    if overwrite or (content is not None and not path.is_symlink() and path.read_bytes() == content):
        return path
    if path.is_symlink():
        target = os.readlink(path)
        remedy = "Name another file, or add --overwrite to replace the link."
        raise OutputError(f"Cannot write {path}: it is a link to {target}. {remedy}")
    raise OutputError(f"Cannot write {path}: there is such a file. Name another one, or add --overwrite to replace it.")


def check_folder(
    path: Path,
    names: Collection[str],
    overwrite: bool,
    inputs: Sequence[Path] = (),
    own: Collection[str] = frozenset(),
    shared: bool = False,
) -> Path:
    """Return the path of a folder in which files of these `names` may be written.

    `own` are names, with folders, of files that this command is known to have made there: they are no obstacle. In a
    folder that is `shared` only files of these `names` are one. Raises OutputError for a folder with other files
    without `overwrite`; with it, for names whose place is taken by a folder, a device or a link in between. A link to
    a folder, an input, and a folder inside one are always refused.
    """
    with writing(path):
        path = without_dots(path)
        _check_place(path, inputs)
        found = [name for name in names if os.path.lexists(path / name)] if shared else listed(path)
        others = [name for name in found if name not in own]
        if others and not overwrite:
            raise OutputError(
                f"Cannot write to {path}: the folder holds {named(others)}. Name another folder, or add --overwrite, "
                "which replaces files of the names that are written and leaves the others."
            )
        if path.exists():
            _check_names(path, names, [file for file in inputs if not file.is_dir()])
        return path


def _check_place(path: Path, inputs: Iterable[Path]) -> None:
    _check_parents(path)
    _check_inputs(path, inputs)
    if path.is_symlink():
        raise OutputError(f"Cannot write to {path}: it is a link to {os.readlink(path)}. Name the folder itself.")
    if path.exists() and not path.is_dir():
        raise OutputError(f"Cannot write to {path}: it is a file. Name a folder.")


@contextmanager
def new_folder(path: Path, overwrite: bool, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Give an empty folder; on success its files appear at `path`, all at once if there is no folder yet, else one by one.

    Raises OutputError as `check_folder` does.
    """
    path = check_folder(path, (), overwrite, inputs)
    if not path.exists():
        with atomic_folder(path) as fresh:
            yield fresh
        return
    with writing(path), TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
        fresh = Path(beside)
        yield fresh
        names = listed(fresh)
        check_folder(path, names, overwrite, inputs)
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, path / name)


def listed(folder: Path) -> list[str]:
    """Return the names of all files, links and empty folders below a folder, relative to it; links are not followed."""
    names = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        names += [os.path.relpath(os.path.join(place, name), folder) for name in (*files, *links)]
        if not folders and not files and Path(place) != folder:
            names.append(os.path.relpath(place, folder))
    return sorted(names)


def named(names: list[str]) -> str:
    """Return the first few of the names, for an error."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name if name.isprintable() else ascii(name) for name in names[:NAMED]) + more


def without_dots(path: Path) -> Path:
    """Return the same place without `..`, which leads elsewhere once a folder before it is made; a last link stays."""
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name if ".." in path.parts else path


def _check_parents(path: Path) -> None:
    for parent in path.absolute().parents:
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise OutputError(f"Cannot write {path}: {parent} is no folder. Name another path.")
            return


def _check_inputs(path: Path, inputs: Iterable[Path]) -> None:
    real = Path(os.path.realpath(path))
    for given in inputs:
        found = Path(os.path.realpath(given))
        if real == found or (path.exists() and found.exists() and path.samefile(found)):
            raise OutputError(f"Cannot write {path}: it is read by the same command. Name another path.")
        if found.is_dir() and real.is_relative_to(found):
            raise OutputError(f"Cannot write {path}: it lies in {given}, which is read. Name another path.")


def _check_names(folder: Path, names: Collection[str], inputs: Sequence[Path]) -> None:
    """OutputError unless the files can be written without a step through a link or a file, and none is an input."""
    between = {parent for name in names for parent in Path(name).parents[:-1]}
    for part in sorted(between):
        place = folder / part
        if place.is_symlink():
            target = os.readlink(place)
            raise OutputError(f"Cannot write to {place}: it is a link to {target}. Remove it, or name another folder.")
        if place.exists() and not place.is_dir():
            raise OutputError(f"Cannot write to {place}: it is a file. Move it, or name another folder.")
    for name in names:
        _check_replaceable(folder / name)
        _check_inputs(folder / name, inputs)


def _check_replaceable(path: Path) -> None:
    """OutputError for what is neither a file nor a link: a folder, a device, a pipe."""
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder. Name a file, or move the folder.")
    if path.exists() and not path.is_file():
        raise OutputError(f"Cannot write {path}: it is no regular file. Name another path.")
