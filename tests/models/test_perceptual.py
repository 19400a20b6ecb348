"""Perceptual losses from files of weights: LPIPS and MedicalNet under their published names; the weights here are random."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from monai.losses import perceptual as monai_perceptual
from torch import Tensor, nn

from brainldm.core.errors import DataError
from brainldm.models import losses, medicalnet
from brainldm.models.perceptual import SQUEEZE, SQUEEZE_END, SliceLPIPS

FIRES = dict(zip((3, 4, 6, 7, 9, 10, 11, 12), [widths for widths in (*SQUEEZE, *SQUEEZE_END) if widths], strict=True))
SLICES = [range(2), range(2, 5), range(5, 8), range(8, 10), range(10, 11), range(11, 12), range(12, 13)]  # of lpips' trunk
DEPTHS = {10: ("basic", [1, 1, 1, 1], "B"), 18: ("basic", [2, 2, 2, 2], "A"), 50: ("bottleneck", [3, 4, 6, 3], "B")}


def lpips_tensors() -> dict[str, Tensor]:
    """Named and shaped as `lpips.LPIPS(net="squeeze").state_dict()`."""
    torch.manual_seed(0)
    shapes = {"0": (64, 3, 3)}
    for place, (channels, squeezed, expanded) in FIRES.items():
        shapes |= {f"{place}.squeeze": (squeezed, channels, 1), f"{place}.expand1x1": (expanded, squeezed, 1)}
        shapes[f"{place}.expand3x3"] = (expanded, squeezed, 3)
    tensors: dict[str, Tensor] = {}
    for name, (wide, channels, edge) in shapes.items():
        part = next(number for number, places in enumerate(SLICES, 1) if int(name.split(".")[0]) in places)
        tensors[f"net.slice{part}.{name}.weight"] = torch.randn(wide, channels, edge, edge) * (2 / (channels * edge**2)) ** 0.5
        tensors[f"net.slice{part}.{name}.bias"] = torch.randn(wide) * 0.1
    for level, channels in enumerate((64, 128, 256, 384, 384, 512, 512)):
        tensors[f"lin{level}.model.1.weight"] = tensors[f"lins.{level}.model.1.weight"] = torch.rand(1, channels, 1, 1)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    return {"scaling_layer.shift": shift.view(1, 3, 1, 1), "scaling_layer.scale": scale.view(1, 3, 1, 1), **tensors}


def lpips(tensors: dict[str, Tensor], one: Tensor, other: Tensor) -> float:
    """LPIPS of slices [S,1,H,W] written from its description."""

    def features(x: Tensor) -> list[Tensor]:
        x, found = (x.expand(-1, 3, -1, -1) - tensors["scaling_layer.shift"]) / tensors["scaling_layer.scale"], []
        for part, places in enumerate(SLICES, 1):
            for place in places:
                x = layer(x, f"net.slice{part}.{place}", place)
            found.append(x / x.norm(dim=1, keepdim=True))
        return found

    def layer(x: Tensor, name: str, place: int) -> Tensor:
        def conv(x: Tensor, part: str, **options: int) -> Tensor:
            return F.conv2d(x, tensors[f"{name}{part}.weight"], tensors[f"{name}{part}.bias"], **options).relu()

        if place in FIRES:
            x = conv(x, ".squeeze")
            return torch.cat([conv(x, ".expand1x1"), conv(x, ".expand3x3", padding=1)], 1)
        if place == 0:
            return conv(x, "", stride=2)
        return x if place == 1 else F.max_pool2d(x, 3, 2, ceil_mode=True)

    pairs = enumerate(zip(features(one), features(other), strict=True))
    return sum(float((tensors[f"lin{level}.model.1.weight"] * (a - b) ** 2).sum(1).mean()) for level, (a, b) in pairs)


def test_lpips_on_slices_is_the_published_distance_summed_over_the_axes(tmp_path: Path) -> None:
    tensors = lpips_tensors()
    torch.save(tensors, tmp_path / "squeeze.pt")
    network = SliceLPIPS.load(tmp_path / "squeeze.pt", 1.0)
    one, other = torch.rand(2, 2, 1, 34, 40, 36).requires_grad_()
    distance = network(one, other)
    slices = [[x.detach().movedim(axis, 1).flatten(0, 1) for x in (one, other)] for axis in (2, 3, 4)]
    wanted = sum(lpips(tensors, *pair) for pair in slices)
    assert float(distance.detach()) == pytest.approx(wanted, rel=1e-4)
    distance.backward()
    assert float(network(other.detach(), other.detach())) == 0
    some = SliceLPIPS.load(tmp_path / "squeeze.pt", 0.25)(one, other)
    assert float(some.detach()) == pytest.approx(wanted, rel=0.2)


def medicalnet_file(path: Path, depth: int) -> Path:
    """Weights under the names of MedicalNet's files: those of a parallel network, with the head of another task."""
    torch.manual_seed(0)
    tensors = medicalnet.MedicalNet(*DEPTHS[depth]).network.state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            nn.init.normal_(tensor, std=0.1)
    named = {f"module.{name}": tensor for name, tensor in tensors.items() if "num_batches" not in name}  # older than the counters
    torch.save({"state_dict": {**named, "module.conv_seg.0.weight": torch.zeros(3)}, "epoch": 7}, path)
    return path


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_depth_of_a_medicalnet_follows_from_its_file(tmp_path: Path, depth: int) -> None:
    network = medicalnet.load(medicalnet_file(tmp_path / f"resnet_{depth}.pth", depth))
    images = torch.rand(1, 1, 32, 40, 32)
    (found,) = network.features(images)
    assert found.shape == (1, 2048 if depth == 50 else 512, 4, 5, 4)
    assert torch.allclose(network.features(3 * images + 1)[0], found, atol=1e-3 * float(found.abs().max()))
    names = torch.load(tmp_path / f"resnet_{depth}.pth", weights_only=True)["state_dict"]
    assert {"module.conv1.weight", "module.layer4.0.bn1.running_var"} <= names.keys()
    assert ("module.layer2.0.downsample.1.weight" in names) == (depth != 18)


def test_the_loss_of_medicalnet_is_monais(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = medicalnet.load(medicalnet_file(tmp_path / "resnet_10.pth", 10))

    class Features(nn.Module):
        def forward(self, standardised: Tensor) -> Tensor:
            return network.features(standardised)[0]

    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: Features())
    theirs = monai_perceptual.MedicalNetPerceptualSimilarity()
    one, other = torch.rand(2, 1, 1, 32, 32, 32)
    one.requires_grad_()
    found = losses.perceptual(network, one, other)
    assert float(found.detach()) == pytest.approx(float(theirs(one, other).detach()), rel=1e-4)
    found.backward()
    assert one.grad is not None
    assert one.grad.abs().max() > 0


def test_files_that_hold_something_else_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in ({"state_dict": {"a.weight": torch.zeros(2)}}, lpips_tensors()):
        torch.save(content, path)
        with pytest.raises(DataError, match=r"weights\.pth: expected MedicalNet's weights"):
            medicalnet.load(path)
    torch.save({"net.slice1.0.weight": torch.zeros(2)}, path)
    with pytest.raises(DataError, match=r"weights\.pth: the weights do not fit"):
        SliceLPIPS.load(path, 0.5)
    path.write_bytes(b"not a file of weights")
    with pytest.raises(DataError, match=r"weights\.pth: expected a file of PyTorch weights"):
        medicalnet.load(path)
