"""The checked configuration: one section per stage; unknown keys are errors with a hint."""

import difflib
import json
import reprlib
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from brainldm.core.errors import ConfigError
from brainldm.core.files import read_json
from brainldm.core.grid import Grid
from brainldm.core.judging import Evaluate, Inference, Measure, PaperTable, Quality, Utility
from brainldm.core.printable import printable
from brainldm.core.publication import Pack, Release
from brainldm.core.request_key import DEMO, PLACE
from brainldm.core.requests import CovariateModel, Request, RequestDesign
from brainldm.core.scan_flags import Flags
from brainldm.core.schema import Precision, Schema, checked
from brainldm.core.section import LabPath, Section
from brainldm.core.trainings import TrainAutoencoder, TrainBaseline, Training, TrainSegmenter

Pair = tuple[float, float]
Tool = Annotated[LabPath, AfterValidator(lambda name: shutil.which(name) or name)]  # a name on PATH becomes the path it stands for
S = TypeVar("S", bound="Section")
MOST_FAULTS = 30  # in one message


class Source(Section):
    """Where raw scans come from: the embedded cohort, or a manifest of the user's own scans."""

    kind: Literal["cohort", "manifest"] = "cohort"
    manifest: LabPath | None = None

    @model_validator(mode="after")
    def _manifest_named(self) -> "Source":
        if self.kind == "manifest" and not self.manifest:
            raise ValueError("source.kind is 'manifest', so source.manifest must name a TSV file")
        return self


class Cohort(Section):
    """The embedded demo population: the MNI152 template, deformed (ours)."""

    n_subjects: int = Field(gt=0)
    n_label_maps: int = Field(gt=0, description="label maps in MNI space for the segmenter, of brains that are no subject's")
    held_out_fraction: float = Field(gt=0, lt=1, description="share of subjects kept for tests, never trained on")
    age_years: Pair = (44.0, 82.0)
    spacing_mm: Pair = Field(description="native voxel size is drawn from this range")
    thick_slice_fraction: float = Field(ge=0, le=1)
    thick_slice_mm: Pair
    rotation_deg: float = Field(20.0, ge=0, le=45, description="native pose: at most this about each axis")
    translation_mm: float = Field(15.0, ge=0)
    noise: Pair = Field(description="standard deviation of the Rician noise, as a fraction of white matter's intensity")


class Preprocess(Section):
    """Rigid registration to MNI, resampling to the grid, intensities in [0, 1]."""

    backend: Literal["greedy", "unires"] = Field(
        "greedy", description="what registers: the embedded picsl-greedy, or UniRes as in the paper"
    )
    unires_command: str = Field("unires", description="UniRes' console script, a name or a path")
    unires_super_resolution: bool = Field(False, description="resample what UniRes reconstructs at 1 mm (hours a scan without a GPU)")
    registration_spacing_mm: float = Field(
        ge=0.5, le=6, description="grid of the registration: 2 for real scans; coarser is cheaper and less exact, enough for coarse volumes"
    )
    min_similarity: float = Field(
        0.75, ge=-1, le=1, description="with the template; below it start again, and in the end give the scan up as bad"
    )
    scans_per_batch: int = Field(gt=0, le=100_000)
    intensity_percentiles: Pair = Field(description="of the resampled volume; they become 0 and 1")
    on_bad_scan: Literal["error", "skip"] = "error"
    flags: Flags = Flags()


class Encode(Inference):
    """The cache of latents."""

    scans_per_file: int = Field(1000, gt=0, description="a run that is killed loses at most these")


class Covariates(Section):
    """What the diffusion model is conditioned on."""

    volumes: Literal["segmented", "manifest"] = Field("segmented", description="where ventricles_ml and brain_ml come from")


class TrainDiffusion(Training):
    """Latent diffusion U-Net with hybrid conditioning."""

    channels: tuple[int, ...]
    attention_levels: tuple[bool, ...]
    head_channels: tuple[int, ...]
    space_to_depth: int = Field(ge=1, description="edge of the block of latent voxels folded into channels; 1 in the paper")
    position_channels: int = Field(ge=0, description="learned maps of where a latent voxel lies; 0 in the paper")
    res_blocks: int = Field(gt=0)
    norm_groups: int = Field(gt=0)
    prediction: Literal["epsilon", "v_prediction"]
    timesteps: int = Field(1000, gt=0, le=100_000)
    beta_start: float = Field(0.0015, gt=0)
    beta_end: float = Field(0.0205, gt=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    standardise: bool = Field(description="model what latents differ from their linear regression on the covariates; false in the paper")
    condition_dropout: float = Field(0.0, ge=0, lt=1, description="share of rows trained without conditions, for guidance; 0 in the paper")
    loss_weighting: Literal["plain", "min_snr"] = Field("plain", description="of timesteps; min_snr: Hang et al. 2023")
    min_snr_gamma: float = Field(5.0, gt=0, description="Hang et al. 2023: 5")


class TrainAge(Training):
    """The age model: a 3-D CNN of Cole et al. 2017's shape."""

    channels: tuple[int, ...]
    space_to_depth: int = Field(ge=1, description="edge of the block of voxels folded into channels; 1 in the paper")


class Sampling(Section):
    """How latents come from noise."""

    sampler: Literal["ddim", "ddpm", "dpmpp_2m", "unipc"] = Field("ddim", description="docs/generation.md compares them")
    steps: int = Field(50, gt=0, le=100_000, description="evaluations of the network; DDPM as published: all of its timesteps")
    eta: float = Field(0.0, ge=0, le=1, description="ddim: fresh noise in every step, from none to that of ddpm")
    guidance: float = Field(
        1.0, ge=0, le=100, description="classifier-free (Ho & Salimans 2022); 1: none, as in the paper; more costs twice the time"
    )

    @model_validator(mode="after")
    def _eta_is_ddims(self) -> Self:
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta is of the sampler ddim, and the sampler is {self.sampler}: set eta to 0")
        return self


class Generate(Sampling):
    """Sampling and decoding, in shards."""

    batch_size: int = Field(
        gt=0, le=4096, description="of the U-Net; the decoder takes as many volumes at a time as a bounded memory holds"
    )
    compile: bool = Field(False, description="torch.compile, for a GPU: a minute or so at the start of every shard; no gain on a CPU")
    attempts: int = Field(
        1,
        gt=0,
        le=1000,
        description="draws of a row at most: what fails measure.quality is drawn again, the last kept; 1: none, as in the paper",
    )


class Config(Section):
    """The whole configuration, as in config.yaml."""

    seed: int = Field(ge=0)
    device: str = "auto"
    precision: Precision = Field("auto", description="of Lightning Fabric; auto: bf16-mixed where the device computes in it, else 32-true")
    grid: Grid
    source: Source = Source()
    segmenter: Tool | None = Field(
        None, description="what measures volumes: SynthSeg weights (.h5), an executable such as mri_synthseg, or none: the one trained here"
    )
    cohort: Cohort
    preprocess: Preprocess
    train_segmenter: TrainSegmenter
    segment: Inference
    covariates: Covariates = Covariates()
    covariate_model: CovariateModel = CovariateModel()
    train_autoencoder: TrainAutoencoder
    encode: Encode
    train_diffusion: TrainDiffusion
    train_age: TrainAge
    train_baseline: TrainBaseline
    request: Request
    generate: Generate
    measure: Measure
    evaluate: Evaluate
    paper_table: PaperTable
    utility: Utility
    pack: Pack
    release: Release

    @property
    def request_key(self) -> str:
        """Return where the secret key of the requests lies; `request_key.DEMO` for the embedded population, behind which nobody stands."""
        if self.request.key:
            return self.request.key
        return DEMO if self.source.kind == "cohort" else PLACE

    @model_validator(mode="after")
    def _pairs_stay_together(self) -> Self:
        if self.request.design == "paired" and self.generate.attempts > 1:
            raise ValueError("request.design is 'paired', and a row drawn again would leave its group's noise: set generate.attempts to 1")
        return self

    @model_validator(mode="after")
    def _mean_scan_stays_private(self) -> Self:
        if self.release.packaging == "latents" and self.train_autoencoder.standardise and self.source.kind != "cohort":
            raise ValueError(
                "release.packaging is 'latents', which publishes the autoencoder, and train_autoencoder.standardise puts the mean training "
                "scan into it: two releases that differ by one person give that person's scan. Set standardise to false, or package files"
            )
        return self

    @model_validator(mode="after")
    def _key_is_secret(self) -> Self:
        if self.request_key == DEMO and self.source.kind != "cohort":
            raise ValueError(f"request.key is {DEMO!r}, the published key of the embedded population: name a file, or null for {PLACE}")
        return self


def parse(values: dict[str, Any], name: str = "config") -> Config:
    """Check a nested dictionary; ConfigError lists every fault, with a hint for mistyped keys."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_describe(fault, values)}" for fault in error.errors()[:MOST_FAULTS])
        raise ConfigError(f"{name}: {error.error_count()} fault(s)\n{faults}") from None


def _describe(fault: Any, values: dict[str, Any]) -> str:
    where = printable(".".join(map(str, fault["loc"])))
    if fault["type"] != "extra_forbidden":
        return printable(f"{where}: {fault['msg']}, found {reprlib.repr(fault['input'])}", 400)
    known = _known_keys(fault["loc"][:-1])
    close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
    return f"{where}: unknown key" + (f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}")


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for key in location:
        model = model.model_fields[key].annotation
    return list(model.model_fields)


AS_PUBLISHED = {"generate_ddpm": ("ddpm", None), "generate_ddim": ("ddim", 50)}  # rows of Table 1; None: all timesteps


def _sampled(config: Config, sampler: str, steps: int | None) -> Config:
    how = {"sampler": sampler, "steps": steps or config.train_diffusion.timesteps, "eta": 0.0, "guidance": 1.0, "attempts": 1}
    return config.model_copy(update={"generate": config.generate.model_copy(update=how)})


def section_json(config: Config, stage: str) -> str:
    """What one stage is told: its own section, the seed and the grid, as JSON. An edit elsewhere leaves it unchanged.

    Where rows are drawn again, `generate` is told the rules of `measure` too.
    """
    if sampler := AS_PUBLISHED.get(stage):
        stage, config = "generate", _sampled(config, *sampler)
    own = getattr(config, stage, Section())
    fields = set(RequestDesign.model_fields) if stage == "request" else None
    values = {
        "stage": stage,
        "seed": config.seed,
        "precision": config.precision,
        "grid": config.grid.model_dump(mode="json"),
        "section": own.model_dump(mode="json", include=fields),
    }
    if stage == "generate" and config.generate.attempts > 1:
        values["quality"] = config.measure.quality.model_dump(mode="json")
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


class Given(Schema):
    """A section file, read: the seed, the precision, the grid and the stage's own section."""

    stage: str
    seed: int = Field(ge=0)
    precision: Precision
    grid: Grid
    section: dict[str, Any]
    quality: Quality | None = None

    def own(self, kind: type[S]) -> S:
        """Return the stage's own section as `kind`; DataError, with the keys at fault, if it is none."""
        return checked(kind, self.section, f"the settings of {self.stage}")


def read_section(path: Path, stage: str) -> Given:
    """Return what a section file says; ConfigError if it belongs to another stage, DataError for a key or value that no stage has."""
    given = checked(Given, read_json(path), str(path))
    if given.stage != stage:
        raise ConfigError(f"{path}: expected the section of {stage!r}, found that of {printable(given.stage)!r}")
    if own := SECTIONS.get(stage):
        checked(own, given.section, str(path))
    return given


SECTIONS: dict[str, type[Section]] = {  # what each stage is told, by its name
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
} | {"request": RequestDesign}
