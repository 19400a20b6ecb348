"""Tar files (USTAR) that equal members make equal, byte for byte: neither time nor owner, members where the caller put them."""

import tarfile
from collections.abc import Iterable
from pathlib import Path

from brainldm.core.files import atomic


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], align: int) -> list[int]:
    """Write members (name, content) in order, then zeros up to a multiple of `align` bytes; returns where each content begins.

    Readers take the zeros for the end. Aligned to a torrent's pieces, a tar shares none of them with its neighbours.
    """
    offsets = []
    with atomic(path) as temporary, temporary.open("wb") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.write(member.tobuf(tarfile.USTAR_FORMAT))
            offsets.append(tar.tell())
            tar.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        end = tar.tell() + 2 * tarfile.BLOCKSIZE
        tar.truncate(end + -end % align)
    return offsets
