"""The columns of the synthetic dataset's tables: name, type, unit, meaning; every schema and sidecar is made from these."""

from typing import NamedTuple

SEXES = {"F": "female", "M": "male"}
DESIGNS = {
    "copula": "a smooth model fitted to the training table: a Gaussian copula of Beta distributions",
    "empirical": "smoothed bootstrap of the training table",
    "uniform": "independent uniforms between rounded bounds, fair sex",
    "stratified": "the same number of rows in every cell of sex, age band and band of ventricular volume",
    "grid": "every combination of listed values",
    "paired": "groups of rows that share their noise and differ in one covariate",
    "table": "listed by whoever asked for the dataset",
}
YES_NO = {"true": "yes", "false": "no"}


class Column(NamedTuple):
    """One column; `kind` is an Arrow type's name, `levels` the meaning of every value of a categorical column."""

    name: str
    kind: str
    description: str
    unit: str = ""
    levels: dict[str, str] | None = None


REQUESTED = (
    Column("index", "int64", "row of the dataset, counted from 0"),
    Column("participant_id", "string", "synthetic participant: nobody was scanned"),
    Column("seed", "int64", "seed of the dataset; the noise of a row is keyed by (seed, noise_index, attempt)"),
    Column("age_years", "float32", "requested age", "year"),
    Column("sex", "string", "requested sex", levels=SEXES),
    Column("ventricles_ml", "float32", "requested volume of the lateral ventricles, not normalised for head size", "mL"),
    Column("brain_ml", "float32", "requested volume of grey and white matter, normalised for head size", "mL"),
    Column("in_support", "bool", "whether the smooth model of the training table puts 99 % of that sex there", levels=YES_NO),
    Column("design", "string", "how the requested covariates were drawn", levels=DESIGNS),
    Column("cell", "string", "cell of the design that the row was drawn for"),
    Column("noise_index", "int64", "with seed and attempt, key of the noise that the row starts from; a paired design's rows share it"),
)

DRAWN = (
    Column("attempt", "int64", "which draw of the row this is: how many before it failed the automatic quality control"),
    Column("rejected", "string", "why earlier draws failed, each after a |"),
)

MEASURED = (
    Column("measured_ventricles_ml", "float32", "volume of the lateral ventricles as segmented in the synthetic volume", "mL"),
    Column("measured_brain_ml", "float32", "grey and white matter as segmented, normalised for head size", "mL"),
    Column("measured_icv_ml", "float32", "intracranial volume as segmented", "mL"),
    Column("age_predicted_years", "float32", "age predicted from the synthetic volume", "year"),
    Column("age_spread_years", "float32", "spread of that prediction when the volume is slightly changed", "year"),
    Column("qc_pass", "bool", "whether the volume passed the automatic quality control", levels=YES_NO),
    Column("qc_reason", "string", "why it did not pass"),
)

STORED = (
    *DRAWN,
    Column("path", "string", "the volume, relative to the dataset as it is unpacked"),
    Column("shard", "string", "shard that generated it: first and last row"),
    Column("tar_offset", "int64", "where the volume's file begins in shards/<shard>.tar; none where volumes lie as files", "byte"),
    Column("n_bytes", "int64", "size of the volume's file", "byte"),
    Column("sha256", "string", "SHA-256 of the volume's file"),
    Column("voxel_sha256", "string", "SHA-256 of its int16 voxels in Fortran order, whatever compressor wrote the file"),
    Column("latent_sha256", "string", "SHA-256 of the float16 latent that the volume was decoded from"),
)

PREVIEW = Column("preview", "binary", "middle axial plane as a PNG, front upwards")
