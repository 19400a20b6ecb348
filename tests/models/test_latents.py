"""The cache of latents: what is written is read, mapped and not copied; damage and other scans are refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from brainldm.core.errors import DataError
from brainldm.models import latents

SHAPE = (3, 4, 4, 4)


@pytest.fixture
def cache(tmp_path: Path) -> tuple[Path, torch.Tensor, torch.Tensor, list[str]]:
    """Five scans in files of two."""
    torch.manual_seed(0)
    mu, sigma, names = 2 * torch.randn(5, *SHAPE) + 1, torch.rand(5, *SHAPE), [f"sub-{index}" for index in range(5)]
    parts = [slice(0, 2), slice(2, 4), slice(4, 5)]
    for place, part in enumerate(parts):
        latents.write_file(latents.file_of(tmp_path / "latents.json", place), mu[part], sigma[part], names[part], "x")
    latents.write_manifest(tmp_path / "latents.json", [names[part] for part in parts])
    return tmp_path / "latents.json", mu.half(), sigma.half(), names


def test_moments_come_back_in_order_whatever_file_they_are_in(cache: tuple[Path, torch.Tensor, torch.Tensor, list[str]]) -> None:
    path, mu, sigma, names = cache
    found = latents.load(path, names)
    assert len(found) == 5
    for values, wanted in zip(found.batch([3, 0, 4]), (mu, sigma), strict=True):
        assert values.dtype == torch.float32
        assert torch.equal(values, wanted[[3, 0, 4]].float())
    assert torch.equal(found.of(np.array([4, 1])).batch([1])[0], mu[[1]].float())
    np.testing.assert_array_equal(found.means(range(len(found))), mu.numpy())
    assert found.spread() == pytest.approx(float(mu.double().std(correction=0)), rel=1e-9)


def test_a_cache_of_other_scans_or_with_damaged_files_is_refused(cache: tuple[Path, torch.Tensor, torch.Tensor, list[str]]) -> None:
    path, _, _, names = cache
    with pytest.raises(DataError, match="other scans"):
        latents.load(path, names[::-1])
    file = latents.file_of(path, 1)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"00001\.safetensors: expected the checksum.*run encode again"):
        latents.load(path, names)
    file.unlink()
    with pytest.raises(DataError, match=r"00001\.safetensors: expected a file of latents.*found nothing"):
        latents.load(path, names)
    path.write_text('{"kind": "shard"}')
    with pytest.raises(DataError, match=r"latents\.json: expected a manifest of latents"):
        latents.load(path, names)


def test_files_of_a_longer_cache_go(cache: tuple[Path, torch.Tensor, torch.Tensor, list[str]]) -> None:
    path, _, _, names = cache
    latents.write_manifest(path, [names[:2]])
    assert [file.name for file in (path.parent / latents.FOLDER).iterdir()] == ["00000.safetensors"]
    assert len(latents.load(path, names[:2])) == 2


def test_moments_are_mapped_and_not_read(tmp_path: Path) -> None:
    """A hundred MiB of latents add little to the memory that is the process' own."""

    def own_mib() -> float:
        fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Rss"))
        return int(fields["RssAnon"].split()[0]) / 1024

    mu = torch.zeros(200, 3, 40, 40, 40)
    names = [f"sub-{index}" for index in range(len(mu))]
    latents.write_file(latents.file_of(tmp_path / "latents.json", 0), mu, mu, names, "x")
    latents.write_manifest(tmp_path / "latents.json", [names])
    del mu
    before = own_mib()
    found = latents.load(tmp_path / "latents.json", names)
    found.batch(range(4))
    assert own_mib() - before < 40
