"""The stages in story order: one word each, what it does, and which stages' files it reads."""

from typing import NamedTuple


class Stage(NamedTuple):
    """One stage: a line for people, and the stages whose outputs it reads."""

    summary: str
    reads: tuple[str, ...]


BASELINES = ("lsgan", "vaegan")  # the paper's competitors, a training of train_baseline each
JUDGES = {"train_segmenter", "train_age"}  # generate reads them where generate.attempts is above 1
OPTIONAL: dict[str, Stage] = {  # `snakemake paper_table`, `snakemake utility`
    "train_baseline": Stage("Train LSGAN or VAE-GAN, the paper's competitors.", ("covariates",)),
    "paper_table": Stage(
        "Score LSGAN, VAE-GAN and two samplers as Table 1 of the paper does.",
        ("covariates", "request", "train_autoencoder", "train_diffusion", "train_age", "train_baseline"),
    ),
    "utility": Stage(
        "Train the age model on synthetic volumes; test it on real scans.", ("covariates", "request", "generate", "train_age")
    ),
}
STORY: dict[str, Stage] = {
    "cohort": Stage("Make the embedded demo population: raw T1w scans in native spaces.", ()),
    "preprocess": Stage("Register raw scans rigidly to MNI, resample, crop, scale to [0, 1].", ("cohort",)),
    "train_segmenter": Stage("Train a segmenter on images synthesised from label maps.", ("cohort",)),
    "segment": Stage("Segment one batch of scans and measure its volumes.", ("preprocess", "train_segmenter")),
    "covariates": Stage("Gather the covariates of all scans.", ("preprocess", "segment")),
    "covariate_model": Stage("Fit the smooth model of the training covariates that requests are drawn from.", ("covariates",)),
    "train_autoencoder": Stage("Train the autoencoder.", ("covariates", "train_segmenter")),
    "encode": Stage("Cache the latents of the training scans.", ("covariates", "train_autoencoder")),
    "train_diffusion": Stage("Train the conditioned latent diffusion model.", ("covariates", "covariate_model", "encode")),
    "train_age": Stage("Train the age model on real scans.", ("covariates",)),
    "request": Stage("Write the covariates of the volumes wanted.", ("covariate_model",)),
    "generate": Stage(
        "Generate one shard of volumes with DDIM; what fails the quality check is drawn again.",
        ("request", "train_autoencoder", "train_diffusion", "train_segmenter", "train_age"),
    ),
    "measure": Stage("Measure volumes and predict age of one shard.", ("generate", "train_segmenter", "train_age")),
    "evaluate": Stage(
        "Score the synthetic volumes beside the real ones.",
        (
            "cohort",
            "covariates",
            "encode",
            "request",
            "generate",
            "measure",
            "train_autoencoder",
            "train_diffusion",
            "train_age",
            "train_segmenter",
        ),
    ),
    "pack": Stage("Pack one shard as it is published.", ("request", "generate", "measure")),
    "report": Stage(
        "Write the HTML report, a private page and a public one.",
        ("preprocess", "evaluate", "train_autoencoder", "train_diffusion", "train_age", "train_segmenter"),
    ),
    "release": Stage(
        "Package shards, table, public report, checksums and torrent.", ("covariates", "covariate_model", "pack", "evaluate", "report")
    ),
}
