"""Sections of trainings: what they have in common, the segmenter's and the autoencoder's."""

from typing import Literal

from pydantic import Field, model_validator

from brainldm.core.section import LabPath, Section


class Training(Section):
    """What every training has in common."""

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(1, gt=0, description="passes that a batch is divided into: less memory, the same update")
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    save_every_s: float = Field(300.0, ge=0, description="between saved states, from which a training that was ended goes on")


class TrainSegmenter(Training):
    """A SynthSeg-style U-Net trained on images synthesised from label maps (Billot et al. 2023)."""

    init_filters: int = Field(gt=0, description="features at the finest level; doubled at each coarser one")
    levels: int = Field(ge=2, le=5)
    space_to_depth: int = Field(ge=1, description="edge of the block of voxels folded into channels; 1 in SynthSeg")
    label_maps: LabPath | None = Field(None, description="folder of label maps, or a TSV of them; none: those of the embedded cohort")
    align: bool = Field(description="register the label maps to MNI first; those of the embedded cohort lie there")
    held_out_maps: int = Field(ge=1, description="label maps kept for the test, the last ones")
    dice_weight: float = Field(
        1.0, ge=0, description="of the soft Dice beside the cross-entropy, which alone gives unbiased volumes (ours)"
    )
    any_contrast: float = Field(ge=0, le=1, description="share of images of any contrast; the others are T1w-like. SynthSeg: 1")
    rotation_deg: float = Field(15.0, ge=0, description="at most, about each axis (SynthSeg)")
    scaling: float = Field(0.2, ge=0, lt=1, description="1 +- at most this, along each axis (SynthSeg)")
    translation_mm: float = Field(5.0, ge=0, description="at most, along each axis (ours; SynthSeg crops at random)")
    warp_mm: float = Field(4.0, ge=0, description="highest standard deviation of the velocity field (SynthSeg)")
    thickest_mm: float = Field(8.0, ge=1, description="largest distance of slices (SynthSeg)")
    bias: float = Field(0.7, ge=0, description="highest standard deviation of the log of the bias field's control points (SynthSeg)")
    gamma: float = Field(0.5, ge=0, description="standard deviation of the log of the exponent of intensities (SynthSeg)")


class TrainAutoencoder(Training):
    """AutoencoderKL; losses as in Pinaya et al. 2022: L1 + perceptual + patch adversarial + KL."""

    channels: tuple[int, ...]
    latent_channels: int = Field(gt=0)
    space_to_depth: int = Field(ge=1, description="edge of the block of voxels folded into channels before the network; 1 in the paper")
    standardise: bool = Field(description="code the standardised difference from the mean training scan; false in the paper")
    position_channels: int = Field(ge=0, description="learned maps of where a voxel lies, for scans on one grid; 0 in the paper")
    res_blocks: int = Field(gt=0)
    norm_groups: int = Field(gt=0)
    l1_weight: float = Field(1.0, ge=0)
    gradient_weight: float = Field(ge=0, description="L1 of the spatial gradients; 0 in the paper")
    perceptual: Literal["segmenter", "squeeze", "medicalnet"] = Field(
        "segmenter", description="whose features are compared: our segmenter's, LPIPS' SqueezeNet on slices, or MedicalNet's"
    )
    perceptual_weights: LabPath | None = Field(None, description="file of weights; none for the segmenter, which is trained here")
    perceptual_slices: float = Field(0.25, gt=0, le=1, description="squeeze: share of the slices along each axis")
    perceptual_weight: float = Field(ge=0)
    adversarial_weight: float = Field(ge=0)
    adversarial_start: int = Field(ge=0, description="step from which the discriminator takes part")
    discriminator_channels: int = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    kl_weight: float = Field(ge=0, description="of the KL summed over the latent, mean over the batch")
    recompute: bool = Field(False, description="compute activations again in the backward pass: less memory, a third more work")
    patch_shape: tuple[int, int, int] | None = Field(None, description="train on random crops of this shape; none: on whole volumes")
    patch_steps: int | None = Field(None, ge=0, description="steps on crops, before those on whole volumes; none: all")

    @model_validator(mode="after")
    def _weights_named(self) -> "TrainAutoencoder":
        if (self.perceptual == "segmenter") != (self.perceptual_weights is None):
            raise ValueError("perceptual_weights must name a file for 'squeeze' and 'medicalnet', and be null for 'segmenter'")
        return self

    @model_validator(mode="after")
    def _patches_fit(self) -> "TrainAutoencoder":
        if self.patch_shape is None:
            return self
        factor = self.space_to_depth * 2 ** (len(self.channels) - 1)
        if self.standardise or self.position_channels:
            raise ValueError("patch_shape needs standardise: false and position_channels: 0, which hold for crops too")
        if any(side % factor or side < 16 for side in self.patch_shape):  # smaller ones the discriminator cannot take
            raise ValueError(f"each side of patch_shape must be a multiple of {factor} and at least 16")
        return self


class TrainBaseline(Training):
    """The paper's competitors, both with one section: LSGAN (Mao et al. 2017) and VAE-GAN (Larsen et al. 2016)."""

    channels: tuple[int, ...] = Field(description="of generator, critic and encoder, finest level first")
    latent_channels: int = Field(gt=0, description="numbers of noise that a volume is made of")
    space_to_depth: int = Field(ge=1, description="edge of the block of voxels folded into channels; 1: none")
    standardise: bool = Field(description="make the standardised difference from the mean training scan")
    norm_groups: int = Field(gt=0)
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam (Radford et al. 2016: 0.5)")
    critic_learning_rate: float = Field(gt=0)
    adversarial_weight: float = Field(gt=0, description="VAE-GAN: 1 / gamma of Larsen et al.")
    kl_weight: float = Field(1.0, ge=0, description="VAE-GAN (Larsen et al.: 1)")
