"""SynthSeg at its official widths: our forward pass against up-sampling, joining and convolving; then the cost of one whole `segment`."""

import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from brainldm.models import synthseg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
import keras_files

REPEATS = 3
SMALL, REAL = (80, 112, 80), (160, 224, 160)
TOLERANCE = 1e-4  # of a posterior


def main() -> None:
    torch.set_num_threads(1)
    layers = keras_files.random_layers(keras_files.OFFICIAL)
    with tempfile.TemporaryDirectory() as folder:
        network = synthseg.load(keras_files.write(Path(folder) / "random.h5", layers))
    sides = {"ours": network, "by the book": lambda images: keras_files.forward(layers, images[0, 0])[None]}
    image = torch.rand(1, 1, *SMALL, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last_3d)
    seconds, results = {name: [] for name in sides}, {}
    with torch.inference_mode():
        for _ in range(REPEATS):
            for name, forward in sides.items():
                start = time.process_time()
                results[name] = forward(image)
                seconds[name].append(time.process_time() - start)
    difference = (results["ours"].softmax(1) - results["by the book"].softmax(1)).abs().max().item()
    assert difference < TOLERANCE, difference
    ours, book = (float(np.median(seconds[name])) for name in sides)
    print(f"{platform.machine()}, 1 thread, {SMALL}, median of {REPEATS}: ours {ours:.2f} CPU-s, by the book {book:.2f} CPU-s")
    print(f"ratio {book / ours:.2f}")
    start = time.process_time()
    synthseg.segment(np.random.default_rng(0).random(REAL, np.float32), np.eye(4), network)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"segment at {REAL}: {time.process_time() - start:.0f} CPU-s, peak of the process {peak_gb:.1f} GB")


if __name__ == "__main__":
    main()
