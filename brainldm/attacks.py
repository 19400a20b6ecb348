"""Membership-inference attacks on a run: on its volumes, by whoever has the release, and on its networks, by whoever has the weights.

Every attack scores the same training and held-out scans. Its positive control scores training scans that are planted where the attack
looks: copies among the synthetic volumes, a linear autoencoder and a denoiser that fit some training scans perfectly.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainldm.core.covariates import covariate_array
from brainldm.core.judging import Evaluate
from brainldm.formats.volumes import chunks
from brainldm.metrics import membership
from brainldm.metrics.membership import Attack
from brainldm.metrics.nearest import Chosen, Rows, nearest_references
from brainldm.metrics.summary import Entries
from brainldm.models.panel import Panel

Arrays = dict[str, np.ndarray]
Read = Callable[[np.ndarray], np.ndarray]  # places of scans -> images [N,1,I,J,K] or latent means [N,C,i,j,k]
TARGETS = ("images", "autoencoder", "diffusion", "age")  # what an attacker has; all but the first besides the release
NAMES = {"image": "image", "texture": "texture", "mu": "latent", "features": "feature"}


@dataclass(frozen=True)
class Attacked:
    """Scans that are attacked, one of each person, in random order: places in the table of members [N] and others [M].

    The first `planted` members are those that positive controls plant.
    """

    members: np.ndarray
    others: np.ndarray
    planted: int
    covariates: np.ndarray  # [N+M, 4]
    spaces: Mapping[str, Rows]
    targets: Mapping[str, str]  # whose networks make the features of a space

    @property
    def places(self) -> np.ndarray:
        """Return the places of members, then of others, [N+M]."""
        return np.concatenate([self.members, self.others])

    def nearest(self, described: Arrays) -> Arrays:
        """Return `nearest_SPACE` [1, N+M]: the distance of every scan to the nearest of the volumes that are described."""
        found = {}
        for space, rows in self.spaces.items():
            distances, _ = nearest_references(Chosen(rows, self.places), described[space])
            found[f"nearest_{space}"] = distances.T
        return found

    def reference(self, space: str) -> np.ndarray:
        """Return the mean distances [N+M] of the scans to held-out scans of other folds."""
        return np.concatenate(membership.reference_distances(self.spaces[space], self.members, self.others))

    def told(self, scores: np.ndarray, controls: Sequence[np.ndarray] = ()) -> Attack:
        """Return what scores [N+M] tell, and the least AUC of planted members against others by the scores [N+M] of the controls."""
        n = len(self.members)
        unusual = membership.unusual(self.covariates)
        found = membership.membership(scores[:n], scores[n:], unusual[:n], unusual[n:])
        areas = [membership.auc(control[: self.planted], control[n:]) for control in controls if self.planted]
        return Attack(found, min(areas, default=float("nan")))


def choose(table: pd.DataFrame, train: np.ndarray, held_out: np.ndarray, options: Evaluate, spaces: Mapping[str, Rows]) -> Attacked:
    """Return whom to attack of scans at the places `train` and `held_out` of a table, both in random order; one scan of each person."""
    members = train[: max(options.attacked_scans, options.planted_copies)]
    others = held_out[: options.attacked_scans]
    covariates = covariate_array(table.iloc[np.concatenate([members, others])])
    features = "age" if options.features == "age" else "images"  # MedicalNet has seen none of the scans
    targets = {"image": "images", "texture": "images", "mu": "autoencoder", "features": features}
    return Attacked(members, others, min(options.planted_copies, len(members)), covariates, spaces, targets)


def one_each(table: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """Return those of places in a table that are the first of their person: scans of one person are not independent."""
    return places[~table["participant_id"].iloc[places].duplicated().to_numpy()]


def on_volumes(attacked: Attacked, nearest: Arrays, planted: Mapping[str, Arrays]) -> dict[str, dict[str, Attack]]:
    """Return attacks by target and name, and what can be told without the release (`without_release` of the target images).

    `nearest` and, for each kind of planted copies, `planted` hold what `Attacked.nearest` gave, part by part.
    """
    found: dict[str, dict[str, Attack]] = {target: {} for target in attacked.targets.values()}
    for space, target in attacked.targets.items():
        key = f"nearest_{space}"
        reference = attacked.reference(space)
        distance = nearest[key].min(axis=0)
        with_copies = [np.minimum(distance, copies[key].min(axis=0)) for copies in planted.values()]
        ratio = membership.log_ratio(reference, distance)
        ratios = [membership.log_ratio(reference, near) for near in with_copies]
        found[target][f"{NAMES[space]}_nearest"] = attacked.told(-distance, [-near for near in with_copies])
        found[target][f"{NAMES[space]}_density_ratio"] = attacked.told(ratio, ratios)
    found["images"]["without_release"] = attacked.told(-attacked.reference("image"))
    return found


def _calibrated(attacked: Attacked, scores: np.ndarray, control: np.ndarray | None) -> tuple[Attack, Attack]:
    """Return what negative logarithms of squared errors [N+M] tell, and what they tell relative to the distance to held-out scans.

    A scan unlike all others is hard for every network, whether it was trained on or not (Watson et al. 2022, arXiv 2111.08440).
    """
    hard = np.log(np.maximum(attacked.reference("image"), 1e-12))
    controls = [] if control is None else [control]
    return attacked.told(scores, controls), attacked.told(scores + hard, [one + hard for one in controls])


def on_autoencoder(attacked: Attacked, nets: Panel, images: Read, means: Read) -> dict[str, Attack]:
    """Return what the error tells with which the autoencoder returns a scan.

    The control is a linear autoencoder of low-resolution images with as many components as it was fitted to scans.
    """
    errors = [
        np.mean((nets.decode(means(places)) - images(places)) ** 2, axis=(1, 2, 3, 4), dtype=np.float64)
        for places in (attacked.places[part] for part in chunks(len(attacked.places), nets.batch_size))
    ]
    low = np.asarray(attacked.spaces["image"](attacked.places), np.float64)
    fitted = low[: attacked.planted]
    control = None
    if len(fitted):
        mean = fitted.mean(axis=0)
        _, values, axes = np.linalg.svd(fitted - mean, full_matrices=False)
        axes = axes[values > 1e-9 * values.max()]
        away = low - mean
        control = -_log(((away - away @ axes.T @ axes) ** 2).mean(axis=1))
    plain, calibrated = _calibrated(attacked, -_log(np.concatenate(errors)), control)
    return {"reconstruction": plain, "reconstruction_calibrated": calibrated}


def on_diffusion(attacked: Attacked, nets: Panel, means: Read, seed: int) -> dict[str, Attack]:
    """Return what the denoising loss of the diffusion model tells; the control is a denoiser that has memorised the planted scans."""

    def read(part: range) -> np.ndarray:
        return means(attacked.places[part.start : part.stop])

    scores = nets.denoising_scores(read, attacked.covariates, range(attacked.planted), seed)
    plain, calibrated = _calibrated(attacked, scores["network"], scores.get("memoriser"))
    return {"denoising_loss": plain, "denoising_loss_calibrated": calibrated}


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-30))


def conduct(
    attacked: Attacked, nearest: Arrays, planted: Mapping[str, Arrays], nets: Panel, images: Read, means: Read, seed: int
) -> tuple[Entries, Entries]:
    """Return `entries` of all attacks; arguments as of those."""
    found = on_volumes(attacked, nearest, planted)
    found["autoencoder"] |= on_autoencoder(attacked, nets, images, means)
    found["diffusion"] = on_diffusion(attacked, nets, means, seed)
    return entries(found)


def entries(attacks: Mapping[str, Mapping[str, Attack]]) -> tuple[Entries, Entries]:
    """Return figures of the report and the table of all attacks, by target and name.

    `membership_TARGET` is the verdict; `..._auc` and `..._tpr` are those of the attack with the highest AUC, `..._attacks` is how many
    were tried, `..._control_auc` the best of their positive controls.
    """
    figures: Entries = {}
    table: Entries = {}
    without = attacks["images"].get("without_release")
    for target in (target for target in TARGETS if attacks.get(target)):
        tried = {name: attack for name, attack in attacks[target].items() if name != "without_release"}
        key = f"membership_{target}"
        figures[key] = membership.verdict(tried, without.found if without else None)
        figures |= _strongest(key, tried)
        table[target] = {name: _row(attack) for name, attack in attacks[target].items()}
    return figures, table


def _strongest(key: str, attacks: Mapping[str, Attack]) -> Entries:
    known = [attack for attack in attacks.values() if attack.found["auc"] is not None]
    if not known:
        return {}
    best = max(known, key=lambda attack: attack.found["auc"]).found
    names = ("auc", "auc_ci", "auc_n", "tpr", "tpr_ci", "tpr_n", "unusual_auc", "unusual_auc_ci", "unusual_auc_n")
    controls = [attack.control_auc for attack in known if not np.isnan(attack.control_auc)]
    return {
        **{f"{key}_{name}": best[name] for name in names},
        f"{key}_attacks": len(attacks),
        f"{key}_control_auc": max(controls, default=None),
    }


def _row(attack: Attack) -> Entries:
    control = None if np.isnan(attack.control_auc) else attack.control_auc
    return {**attack.found, "control_auc": control}
