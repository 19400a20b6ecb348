"""Sections of the configuration that say how volumes are measured, scored and let go."""

from pydantic import Field

from brainldm.core.section import LabPath, Section

Pair = tuple[float, float]


class Inference(Section):
    """A network run over volumes."""

    batch_size: int = Field(gt=0, le=4096)


class Quality(Section):
    """What a synthetic volume must be to pass; limits are ours."""

    min_spread: float = Field(0.02, ge=0, description="standard deviation of intensities; below it the volume is empty")
    max_saturated: float = Field(0.01, ge=0, le=1, description="share of voxels above 1.2")
    icv_ml: Pair = Field((1000.0, 2200.0), description="intracranial volume; outside lies no adult's, or half of one")
    brain_fraction: Pair = Field((0.5, 1.0), description="tissue over intracranial volume; outside lies no living brain")
    ventricles_fraction: Pair = Field((0.0, 0.25), description="ventricles over intracranial volume")
    sharpness: Pair | None = Field(None, description="rms Laplacian over standard deviation; depends on the grid, so null: not checked")
    age_spread_years: float | None = Field(
        None,
        gt=0,
        description="of the age model's answers to a volume slightly changed; above it is unsure; depends on it, so null: not checked",
    )


class Measure(Inference):
    """Volumes, age and quality of every synthetic volume."""

    quality: Quality = Quality()


class Evaluate(Section):
    """Metrics of the synthetic volumes beside the real data's own."""

    batch_size: int = Field(gt=0, le=4096)
    features: LabPath = Field("age", description="of FID: age (the age model's, in-domain) or a file of MedicalNet's weights")
    reference: LabPath | None = Field(None, description="statistics of real features that another evaluation wrote (reference.npz)")
    ssim_pairs: int = Field(gt=1, le=100_000, description="random pairs whose similarity is averaged; paper: 1000")
    ssim_sample: int = Field(0, ge=0, le=10_000, description="volumes of which all pairs are compared as well; 0: none")
    bootstrap: int = Field(gt=0, le=100_000)
    ladder_steps: int = Field(ge=2, le=1000)
    planted_copies: int = Field(64, ge=0, le=100_000, description="training scans of each kind of copy that the privacy audit must find")
    copy_rate_limit: float = Field(
        0.05, gt=0.01, lt=1, description="copy rate, false alarms included, that the audit must exclude with 95 % confidence"
    )
    attacked_scans: int = Field(1000, gt=0, description="training scans and held-out scans at most that membership-inference attacks score")


class Utility(Section):
    """Age models trained on real scans, on synthetic volumes and on both, with the settings of train_age."""

    n_synthetic: int = Field(gt=0, description="synthetic volumes to train on at most: the first of the run, in whole shards")
    repeats: int = Field(gt=0, description="trainings on each set, from other weights and with other batches")


class PaperTable(Section):
    """Table 1 of the paper, from this run; features, pairs and bootstrap as evaluate has them."""

    n_volumes: int = Field(gt=1, description="volumes of each row; FID compares as many real scans, at most half of all")
    timed: int = Field(gt=1, description="volumes whose sampling is timed, one at a time")
