"""Texts that git-annex and git-lfs leave in place of a file's content."""

from pathlib import Path

MOST_BYTES = 32768  # git-annex's own limit for a pointer
ANNEX = b"annex/objects/"
LFS = b"version https://git-lfs.github.com/spec/"
REMEDY = "Get its content with `datalad get` or `git annex get`"
LFS_REMEDY = "Get its content with `git lfs pull` or `datalad get`"


def pointer_remedy(content: bytes) -> str | None:
    """Return what to do where the content is a pointer of git-annex or git-lfs, or the text of a link into an annex; else None."""
    if len(content) > MOST_BYTES:
        return None
    if content.startswith(LFS):
        return LFS_REMEDY
    first = content.lstrip().splitlines()[:1]
    if first and ANNEX in first[0].replace(b"\\", b"/") and first[0].isascii() and b"\0" not in first[0]:
        return REMEDY
    return None


def pointer_in(path: Path) -> str | None:
    """Return `pointer_remedy` of a file; None for one that cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        return pointer_remedy(path.read_bytes())
    except OSError:
        return None


def link_remedy(path: Path) -> str:
    """Return what to do about a symbolic link that leads nowhere, as datalad and git-annex leave them; nothing for any other path."""
    if not path.is_symlink():
        return ""
    return f", a symbolic link to {path.readlink()}, which is not there; get its content (`datalad get`)"
