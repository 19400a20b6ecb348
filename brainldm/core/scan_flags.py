"""Limits of the QC table: beyond them a scan is flagged for a person to look at."""

from pydantic import Field

from brainldm.core.section import Section


class Flags(Section):
    """Beyond which measures a scan is flagged in the QC table, for a person to look at. No volume depends on them."""

    similarity_below: float = Field(default=0.78, description="right poses: 0.81 and more (whole heads), 0.9 (brains); wrong: up to 0.74")
    rotation_above_deg: float = Field(default=40.0, description="heads turn by 30 at most; more is a header that errs about its axes")
    translation_above_mm: float = Field(default=80.0, description="scanners centre heads within some centimetres; more is a lost origin")
    brain_in_scan_below: float = Field(default=0.97, description="fraction; below, some of the brain was never scanned")
    head_in_grid_below: float = Field(default=0.7, description="fraction; a neck outside the box is harmless, half a head is not")
    brain_median_below: float = Field(default=0.2, description="of the brain, in [0, 1]: a few bright voxels took the range")
    brain_spread_below: float = Field(default=0.1, description="of the brain, 95th less 5th percentile, in [0, 1]: no contrast")
    background_above: float = Field(default=0.1, description="of the air in the scan's corners, where the volume has 0 and 1; right: 0")
    background_noise_above: float = Field(default=0.2, description="95th less 5th percentile there: noise that was amplified")
    offset_above: float = Field(default=0.05, description="of the air from 0 as stored, in units of the brightest above it")
    wraparound_above: float = Field(default=2e-5, description="pits as deep as the whole range, per voxel: integers wrapped around")
    slice_jump_above: float = Field(default=2.2, description="a slice fits badly between its neighbours; noise: 2, exchanged slices: 3")
