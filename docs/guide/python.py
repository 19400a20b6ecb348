"""brainldm from Python: a notebook as a script with cells."""

# %% [markdown]
# # brainldm from Python
# Cells begin with `# %%`: VS Code, PyCharm and Jupyter (with jupytext) open this file as a notebook. A test executes it.

# %%
from pathlib import Path

import numpy as np

import brainldm
from brainldm.data import BrainLDMDataset
from brainldm.formats.nifti import write_image

# %% [markdown]
# The packaged model; `brainldm.load("results")` takes a run of yours, or an imported bundle.

# %%
model = brainldm.load(device="cpu", steps=10)
for name, covariate in model.covariates.items():
    print(f"{name}: {covariate.low:.4g} to {covariate.high:.4g} ({covariate.unit})")

# %% [markdown]
# One person, younger and older: the noise is the same (same `seed`), and so is the brain, but for what age does to it.
# The bytes are those of `brainldm sample` with the same seed, steps and batch; `write_image` keeps them, nibabel's own `save` does not.

# %%
person = {"sex": "F", "brain_ml": 1560}
young, old = (model.sample(age_years=age, ventricles_ml=ml, seed=1, **person)[0] for age, ml in ((50, 20), (80, 60)))
change = old.get_fdata() - young.get_fdata()
print(f"largest change {np.abs(change).max():.2f}, at voxel {np.unravel_index(np.abs(change).argmax(), change.shape)}")
write_image(Path("young.nii.gz"), young)

# %% [markdown]
# A release is a torch data set, in a folder or over HTTP, packaged as files, shards or latents.

# %%
release = Path("first/results/release")
if release.exists():
    data = BrainLDMDataset(release, where="age_years >= 60", n=4)
    item = data[0]
    print(len(data), item["image"].shape, dict(zip(("sex", "age", "ventricles", "brain"), item["covariates"].tolist(), strict=True)))
