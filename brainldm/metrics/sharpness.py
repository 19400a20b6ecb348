"""How sharp volumes are: what passes through a latent tends to be blurred."""

import numpy as np


def sharpness(images: np.ndarray) -> np.ndarray:
    """Root mean square of the discrete Laplacian over the standard deviation, [N] of images [N,1,I,J,K]; gain and offset leave it alone."""
    volumes = images[:, 0].astype(np.float32)
    inner = volumes[:, 1:-1, 1:-1, 1:-1]
    laplacian = -6 * inner
    for axis in (1, 2, 3):
        for start in (0, 2):
            window = [slice(None), *(slice(1, -1),) * 3]
            window[axis] = slice(start, volumes.shape[axis] - 2 + start)
            laplacian += volumes[tuple(window)]
    spread = np.maximum(volumes.std((1, 2, 3)), 1e-6)
    return np.sqrt((laplacian**2).mean((1, 2, 3))) / spread
