"""The MNI152 template made ready to be deformed: T1, white, grey, lateral ventricles, and the fields along which a brain ages."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from brainldm.imaging.mni152 import read_map

DEEP_MM = 12  # along the axes; lateral ventricles lie deeper below the brain's surface than most sulci
MARGIN_MM = 16  # of the box around the brain; no displacement is larger
EDGE_MM = 1.5  # width of the ventricles' edge: sharp, yet soft enough for trilinear sampling
SULCAL_BLUR_MM = 1.5


@dataclass(frozen=True)
class Template:
    """Float32 maps [I, J, K] at 1 mm, RAS+; voxel + origin_mm = MNI mm.

    `t1` has no lateral ventricles: their voxels hold the nearest tissue's intensity, so that they can be drawn anew, sharp, at any size.
    `white`, `grey` and `ventricle` are fractions inside `mask`; the rest of it is CSF. `ventricle_mm` is the signed distance to the
    lateral ventricles, positive outside. `sulcal` runs from 0 in the depth of the tissue to 1 in outer CSF and outside the brain.
    """

    origin_mm: np.ndarray
    t1: np.ndarray
    mask: np.ndarray
    white: np.ndarray
    grey: np.ndarray
    ventricle: np.ndarray
    ventricle_mm: np.ndarray
    sulcal: np.ndarray

    def sample(self, name: str, points_mm: np.ndarray) -> np.ndarray:
        """Trilinear samples [N] of the map `name` at MNI points [3, N]; 0 outside the box."""
        index = points_mm - self.origin_mm[:, None]
        return np.asarray(ndimage.map_coordinates(getattr(self, name), index, order=1, mode="constant"))


@cache
def template() -> Template:
    """The maps, read and derived once per process."""
    (t1, white, grey), origin_mm = _padded_maps()
    white, grey = white / 255, grey / 255
    brain = ndimage.binary_fill_holes(t1 > 0)
    distance_mm = _signed_distance(lateral_ventricles(brain & (white + grey < 0.5), brain, origin_mm))
    t1, white, grey = _without(distance_mm < 2, t1, white, grey)
    ventricle = np.clip(0.5 - distance_mm / EDGE_MM, 0, 1).astype(np.float32)
    share = brain * (1 - ventricle) / np.maximum(white + grey, 1)
    outer = np.where(brain, 1 - np.minimum(white + grey, 1), np.float32(1))
    return Template(
        origin_mm=origin_mm,
        t1=t1,
        mask=brain.astype(np.float32),
        white=white * share,
        grey=grey * share,
        ventricle=ventricle,
        ventricle_mm=distance_mm,
        sulcal=ndimage.gaussian_filter(outer, SULCAL_BLUR_MM),
    )


def lateral_ventricles(csf: np.ndarray, brain: np.ndarray, origin_mm: np.ndarray) -> np.ndarray:
    """Mask of both lateral ventricles: the largest deep piece of `csf`, cut from the third ventricle and the cistern behind it.

    The cut: within 10 mm of the midline CSF is not lateral ventricle behind y = -30 mm, nor below z = 13 mm behind y = 4 mm
    (read off the template).
    """
    x, y, z = np.ogrid[tuple(slice(low, low + side) for low, side in zip(origin_mm, brain.shape, strict=True))]
    midline = (np.abs(x) <= 10) & ((y < -30) | ((y < 4) & (z < 13)))
    deep = ndimage.distance_transform_cdt(brain) > DEEP_MM
    pieces, _ = ndimage.label(csf & deep & ~midline)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _padded_maps() -> tuple[list[np.ndarray], np.ndarray]:
    """T1, white and grey in the brain's bounding box, padded with zeros, and the MNI mm of the padded box's first voxel."""
    t1, affine = read_map("t1")
    box = ndimage.find_objects((t1 > 0).astype(np.uint8))[0]
    maps = [np.pad(values[box], MARGIN_MM) for values in (t1, read_map("wm")[0], read_map("gm")[0])]
    return maps, affine[:3, 3] + [side.start - MARGIN_MM for side in box]


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the surface of the mask in voxels, negative inside; the surface lies half a voxel from the voxels' centres."""
    distance = ndimage.distance_transform_edt(~mask) - 0.5
    box = _box(mask)
    distance[box] = np.where(mask[box], 0.5 - ndimage.distance_transform_edt(mask[box]), distance[box])
    return np.asarray(distance, np.float32)


def _without(hole: np.ndarray, *maps: np.ndarray) -> list[np.ndarray]:
    """The maps with every voxel of `hole` replaced by the nearest one outside it."""
    box = _box(hole)
    nearest = tuple(ndimage.distance_transform_edt(hole[box], return_distances=False, return_indices=True))
    filled = [values.copy() for values in maps]
    for values in filled:
        values[box] = values[box][nearest]
    return filled


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The mask's bounding box and one voxel around it."""
    return tuple(slice(side.start - 1, side.stop + 1) for side in ndimage.find_objects(mask.astype(np.uint8))[0])
