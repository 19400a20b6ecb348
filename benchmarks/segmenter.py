"""The project's segmenter on real label maps: trained on them alone, its Dice on two held out, and a picture of it on real scans.

`python benchmarks/segmenter.py --labels FOLDER --scans a.nii.gz b.nii.gz --out work/` (an hour of one core that computes in bfloat16).
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from brainldm.core.config import Given, TrainSegmenter, read_section
from brainldm.core.labels import CSF, VENTRICLES, summary_ml
from brainldm.formats.figures import strip
from brainldm.formats.scan import read_scan
from brainldm.formats.tables import read_tsv
from brainldm.imaging.intensity import to_unit_range
from brainldm.imaging.register import register
from brainldm.imaging.resample import onto_grid
from brainldm.models import segmenter
from brainldm.stages import train_segmenter

SETTINGS = {
    "stage": "train_segmenter",
    "seed": 1,
    "precision": "bf16-mixed",
    "grid": {"shape": [48, 64, 56], "spacing_mm": 3.0, "center_mm": [0, -17, 7]},
    "section": {
        **{"steps": 3000, "batch_size": 2, "learning_rate": 4e-3, "warmup_steps": 20, "save_every_s": 120},
        **{"init_filters": 32, "levels": 3, "space_to_depth": 2, "align": True, "held_out_maps": 2, "dice_weight": 1.0},
        **{"any_contrast": 0.0, "rotation_deg": 5, "scaling": 0.1, "translation_mm": 5, "warp_mm": 2},
        **{"thickest_mm": 2, "bias": 0.2, "gamma": 0.2},
    },
}
SHARP, LIKENESS = (0.0, 99.8), 0.75  # percentiles of the intensities; similarity to the template of an aligned scan
COLOURS = {  # of labels, left and right alike; lateral ventricles stand out
    **dict.fromkeys((2, 41), "#c8c8c8"),
    **dict.fromkeys((3, 42), "#7a4a3a"),
    **dict.fromkeys(VENTRICLES, "#00e5ff"),
    **dict.fromkeys((14, 15), "#0077bb"),
    CSF: "#10305a",
    **dict.fromkeys((7, 46), "#e8c48a"),
    **dict.fromkeys((8, 47), "#ee7733"),
    **dict.fromkeys((10, 49), "#009a5a"),
    **dict.fromkeys((11, 50), "#7fb3ff"),
    **dict.fromkeys((12, 51), "#ee3377"),
    **dict.fromkeys((13, 52), "#5a30a0"),
    16: "#8a8a3a",
    **dict.fromkeys((17, 53), "#ffe030"),
    **dict.fromkeys((18, 54), "#33bbaa"),
    **dict.fromkeys((26, 58), "#cc3311"),
    **dict.fromkeys((28, 60), "#aa7755"),
}
Row = tuple[str, np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--scans", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("results/segmenter"), help="a training that it holds goes on")
    folders = parser.parse_args()
    if folders.labels is None:
        print("needs --labels FOLDER of label maps with SynthSeg's generation labels: nothing measured")
        return
    folders.out.mkdir(parents=True, exist_ok=True)
    section, model = folders.out / "s.json", folders.out / "model.safetensors"
    if not model.exists():
        section.write_text(json.dumps(SETTINGS))
        train_segmenter.main(section, folders.labels, model, "cpu")
    table = read_tsv(folders.out / "dice.tsv", ["name", "dice"])
    print(table.to_string(index=False))
    given, network = read_section(section, "train_segmenter"), segmenter.load(model)
    rows = [real(path, given, network) for path in folders.scans] + synthetic(folders.labels, given, network)
    draw(rows, given, folders.out / "segmentation.png")


def real(path: Path, given: Given, network: segmenter.Segmenter) -> Row:
    """A scan, registered and resampled as `preprocess` does, and its label map."""
    scan = read_scan(path)
    image, affine = scan.volume, scan.affine
    pose = register(image, affine, 2.0, LIKENESS, given.seed)
    volume = to_unit_range(onto_grid(image, affine, given.grid, pose.mni_to_native), SHARP, str(path))
    labels, ml = network.segment(torch.from_numpy(volume)[None, None])
    found = {name: float(values[0]) for name, values in summary_ml(ml).items()}
    print(path.name, {name: round(value, 1) for name, value in found.items()})
    return f"{path.name.split('.')[0]}: real, ventricles {found['ventricles_ml']:.0f} mL", volume, labels[0]


def synthetic(folder: Path, given: Given, network: segmenter.Segmenter) -> list[Row]:
    """A synthetic image of each label map that was held out, and its label map as found."""
    options = given.own(TrainSegmenter)
    paths = train_segmenter.label_paths(folder, options.held_out_maps)[-options.held_out_maps :]
    maps, _ = train_segmenter.read_maps(paths, options.align, given, torch.device("cpu"))
    rows = []
    for place, one in enumerate(maps):
        generators = [np.random.default_rng([given.seed, place])]
        images, _ = train_segmenter.images_of([one], options, given.grid, network.labels, generators)
        rows.append(("synthetic, of a label map held out", images[0, 0].numpy(), network.segment(images)[0][0]))
    return rows


def draw(rows: list[Row], given: Given, path: Path) -> None:
    """Image and labels over it, in three planes, a row for each."""
    figure, axes = plt.subplots(len(rows), 2, figsize=(11, 2.3 * len(rows)), facecolor="black", squeeze=False)
    for (title, volume, labels), (left, right) in zip(rows, axes, strict=True):
        grey, found = strip(volume, given.grid), strip(labels, given.grid)
        left.imshow(grey, cmap="gray", vmin=0, vmax=1)
        right.imshow(painted(grey, found))
        left.set_title(title, color="white", fontsize=9, loc="left")
    for one in axes.flat:
        one.axis("off")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=90, facecolor="black")


def painted(grey: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The picture in colour [rows, columns, 3], every label in its own over the grey."""
    picture = np.repeat(grey[..., None], 3, axis=-1)
    for label, colour in COLOURS.items():
        picture[labels == label] = 0.3 * picture[labels == label] + 0.7 * np.array(plt.matplotlib.colors.to_rgb(colour))
    return picture.clip(0, 1)


if __name__ == "__main__":
    main()
