"""brainldm: raw T1w scans in, a release of conditioned synthetic brains out. `snakemake --cores N`."""

import shlex
import sys
import time
from pathlib import Path

from snakemake.utils import min_version

from brainldm.core import config as settings
from brainldm.core import project as folder
from brainldm.core.request_key import DEMO
from brainldm.core.rows import (
    SHARD_PATTERN,
    batch_names,
    count_scans,
    repeated,
    shard_names,
)

min_version("9.0")


configfile: "config.yaml"


# The stages' command lives beside the interpreter that runs Snakemake, whether or not its environment is activated.
shell.prefix(
    f"set -euo pipefail; export OMP_WAIT_POLICY=PASSIVE PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)

CONFIG = settings.parse(
    config, " and ".join(map(str, workflow.configfiles)) or "config"
)
MANIFEST = CONFIG.source.manifest or "results/cohort/manifest.tsv"
N_SCANS = (
    CONFIG.cohort.n_subjects
    if CONFIG.source.kind == "cohort"
    else count_scans(MANIFEST)
)
BATCHES = batch_names(N_SCANS, CONFIG.preprocess.scans_per_batch)
LABEL_MAPS = CONFIG.train_segmenter.label_maps or "results/cohort/labels.tsv"
SEGMENTER = CONFIG.segmenter or "results/train_segmenter/model.safetensors"
REQUEST_KEY = CONFIG.request_key
SHARDS = shard_names(CONFIG.request.n_rows, CONFIG.request.rows_per_shard)
TABLE_SHARDS = shard_names(CONFIG.paper_table.n_volumes, CONFIG.request.rows_per_shard)
FIRST_SHARDS = SHARDS[: -(-CONFIG.utility.n_synthetic // CONFIG.request.rows_per_shard)]
TRAINED_ON = {"real": [], "synthetic": FIRST_SHARDS, "both": FIRST_SHARDS}
REPEATS = range(CONFIG.utility.repeats)
STARTED = time.time()


folder.check_results(Path())


onstart:
    folder.mark_results(Path())


onsuccess:
    print(folder.news(Path(), STARTED))


wildcard_constraints:
    batch=r"\d+",
    shard=SHARD_PATTERN,
    baseline="lsgan|vaegan",
    sampler="ddpm|ddim",
    training="real|synthetic|both",
    repeat=r"\d+",


localrules:
    all,
    configure,


rule all:
    input:
        "results/report.html",
        "results/release/checksums.sha256",


include: "workflow/rules/configure.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/train_segmenter.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/covariates.smk"
include: "workflow/rules/covariate_model.smk"
include: "workflow/rules/train_autoencoder.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/train_diffusion.smk"
include: "workflow/rules/train_age.smk"
include: "workflow/rules/request_key.smk"
include: "workflow/rules/request.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/pack.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/train_baseline.smk"
include: "workflow/rules/paper_table.smk"
include: "workflow/rules/utility.smk"
