"""The audit of the released table: do its covariates tell who was trained on more than they tell of people who were not?

The guidance on anonymisation asks for singling out, linkability and inference (Article 29 Working Party, opinion 05/2014); each is a rate
of success on training participants against that on held-out people, as in Giomi et al. 2023 (anonymeter). Added are membership inference
and what broke version 0.1: replaying the published random numbers, trilateration, and published extremes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from brainldm.core.covariates import NAMES, covariate_array
from brainldm.metrics import table_attacks as attacks
from brainldm.metrics.audit import FEWEST, rate
from brainldm.metrics.membership import LEAK, TOO_LITTLE, Attack, auc, log_ratio, membership, unusual, verdict
from brainldm.metrics.summary import Entries

OLD_JITTER = 0.1
SIGNIFICANT = 0.05  # shared by all comparisons of rates (Bonferroni)
PLANTED_JITTER = 0.002  # of the positive control, in standard deviations
FOLDS = 10


class Table(NamedTuple):
    """A released table: covariates [R, 4], row indices [R], the seed, the cells [R], and a column of distances [R] if there is one."""

    covariates: np.ndarray
    indices: np.ndarray
    seed: int
    cells: list[str]
    distances: np.ndarray | None = None

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Table":
        """Return what attackers use of the rows of a release."""
        covariates = covariate_array(rows[list(NAMES)])
        return cls(covariates, rows["index"].to_numpy(), int(rows["seed"].iloc[0]), rows["cell"].fillna("").astype(str).tolist())


class TableAudit(NamedTuple):
    """The verdict; by attack the entries of `membership`; by attack the rates of success on both kinds of people."""

    verdict: str
    attacks: dict[str, Entries]
    rates: dict[str, Entries]


def audit_table(table: Table, training: np.ndarray, held_out: np.ndarray) -> TableAudit:
    """Return what attacks on a table find out about training participants [N, 4], with held-out people [M, 4] as control."""
    people = np.concatenate([training, held_out])
    if min(len(training), len(held_out)) < FEWEST or len(table.covariates) < FEWEST:
        return TableAudit(TOO_LITTLE, {}, {})
    space = attacks.Space(people)
    odd = unusual(space.whitened(people)[:, 1:])
    odd_members, odd_others = odd[: len(training)], odd[len(training) :]
    generator = np.random.default_rng([table.seed, 79])
    planted = _planted(training, space, generator)
    control = scores(planted, training, held_out, space)
    found = {
        name: Attack(membership(*pair, odd_members, odd_others), auc(*control[name]))
        for name, pair in scores(table.covariates, training, held_out, space).items()
    }
    rates = success_rates(table, training, held_out, space, generator)
    told = LEAK if any(leaks(row, len(rates)) for row in rates.values()) else verdict(found)
    return TableAudit(told, {name: {**attack.found, "control_auc": attack.control_auc} for name, attack in found.items()}, rates)


def scores(
    released: np.ndarray, training: np.ndarray, held_out: np.ndarray, space: attacks.Space
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return, by attack, the membership scores of training participants [N] and of held-out people [M].

    `nearest`: minus the distance to the nearest released row. `density`: DOMIAS (van Breugel et al. 2023), the density of released rows
    over that of held-out people of other folds. `likelihood`: the same with normal densities fitted to either.
    """
    rows, members, others = (space.whitened(people) for people in (released, training, held_out))
    nearest = tuple(-attacks.mean_distance(people, rows, 1) for people in (members, others))
    near = [attacks.mean_distance(people, rows, attacks.NEIGHBOURS) for people in (members, others)]
    density = [np.empty(len(members)), np.empty(len(others))]
    likelihood = [np.empty(len(members)), np.empty(len(others))]
    fold = np.arange(len(others)) % FOLDS
    for turn in range(FOLDS):
        reference = others[fold != turn]
        for kind, people in enumerate((members, others)):
            mine = np.arange(len(people)) % FOLDS == turn
            away = attacks.mean_distance(people[mine], reference, attacks.NEIGHBOURS)
            density[kind][mine] = log_ratio(away, near[kind][mine])
            ours = attacks.log_likelihood(people[mine, 1:], rows[:, 1:])
            likelihood[kind][mine] = ours - attacks.log_likelihood(people[mine, 1:], reference[:, 1:])
    return {"nearest": (nearest[0], nearest[1]), "density": (density[0], density[1]), "likelihood": (likelihood[0], likelihood[1])}


def success_rates(
    table: Table, training: np.ndarray, held_out: np.ndarray, space: attacks.Space, generator: np.random.Generator
) -> dict[str, Entries]:
    """Return, by attack, how often it succeeds on training participants and on held-out people, each with its n and interval."""
    released = table.covariates
    same = training[generator.permutation(len(training))[: len(held_out)]]  # singling out depends on how many people there are
    others = held_out[: len(same)]
    candidates = {"replay": attacks.replayed(released, table.indices, table.seed, training, OLD_JITTER)}
    if table.distances is not None:
        candidates["trilateration"] = attacks.trilaterated(released, table.distances, training)
    pairs = {name: (attacks.hit(training, rows, space), attacks.hit(held_out, rows, space)) for name, rows in candidates.items()}
    spread = training[:, 1:].std(0)
    pairs["extremes"] = (attacks.edge_hits(released, table.cells, same, spread), attacks.edge_hits(released, table.cells, others, spread))
    keys = generator.integers(2**31)
    singled = (attacks.singled_out(released, people, np.random.default_rng(keys)) for people in (same, others))
    pairs["singling out"] = (next(singled), next(singled))
    pairs["linkability"] = (attacks.linked(released, training, space), attacks.linked(released, held_out, space))
    for secret in (1, 2, 3):
        both = (attacks.inferred(released, people, secret, space) for people in (training, held_out))
        pairs[f"inference of {NAMES[secret]}"] = (next(both), next(both))
    return {name: {**rate("training", told), **rate("held_out", control)} for name, (told, control) in pairs.items()}


def leaks(row: Mapping[str, float], n_attacks: int) -> bool:
    """Return whether an attack succeeds more often on training participants than on held-out people (Fisher's exact test, one-sided)."""
    successes = {kind: round((row[kind] or 0) * row[f"{kind}_n"]) for kind in ("training", "held_out")}
    table = [[found, row[f"{kind}_n"] - found] for kind, found in successes.items()]
    return bool(stats.fisher_exact(table, alternative="greater").pvalue < SIGNIFICANT / n_attacks)


def _planted(training: np.ndarray, space: attacks.Space, generator: np.random.Generator) -> np.ndarray:
    """Return the positive control: a table [N, 4] in which each training participant stands once, slightly jittered."""
    planted = training.copy()
    planted[:, 1:] += PLANTED_JITTER * training[:, 1:].std(0) * generator.standard_normal((len(training), 3))
    return planted
