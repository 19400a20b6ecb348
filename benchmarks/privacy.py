"""Run the attacks of the table audit on made populations: what does each design of requests tell about the people behind it?

    python benchmarks/privacy.py                        # 2,000 training and 2,000 held-out people, 256 and 10,000 rows, 4 populations
    python benchmarks/privacy.py --rows 100000 --populations 10

An AUC of 0.5 and equal rates on both kinds of people mean that the table tells nothing. Prints a table in Markdown.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/support"))
sys.path.append(str(ROOT / "tests/metrics"))

import old_design  # noqa: E402
from test_table_audit import SEED, of_version_0_1, people, requested  # noqa: E402

from brainldm.core import copula  # noqa: E402
from brainldm.core.design import Sources, draw  # noqa: E402
from brainldm.core.requests import CovariateModel, RequestDesign  # noqa: E402
from brainldm.metrics.table_audit import Table, audit_table  # noqa: E402

PUBLIC = {"age_years": (44, 82), "ventricles_ml": (4, 250), "brain_ml": (1000, 2000)}
HEADS = (
    "design", "rows", "AUC (nearest)", "the most unusual tenth", "largest AUC of an attack", "replayed", "trilaterated",
    "ventricles inferred",
)  # fmt: skip


def private(training: np.ndarray, n_rows: int) -> Table:
    model = copula.fit(training, CovariateModel(bounds=PUBLIC, epsilon=1.0), "people")
    rows = draw(Sources(model, bytes(32), SEED), range(n_rows), RequestDesign())
    return Table(np.stack([row.covariates for row in rows]), np.arange(n_rows), SEED, [])


DESIGNS: dict[str, Callable[[np.ndarray, int], Table]] = {
    "version 0.1: bootstrap, public seed": of_version_0_1,
    "`empirical`: bootstrap, secret key": lambda training, n: requested(training, n, "empirical"),
    "`copula`": lambda training, n: requested(training, n, "copula"),
    "`copula`, epsilon 1": private,
    "`uniform`": lambda training, n: requested(training, n, "uniform"),
    "`stratified`": lambda training, n: requested(training, n, "stratified"),
}


def line(design: str, n_rows: int, n_people: int, populations: int) -> str:
    found = []
    for seed in range(populations):
        training, held_out = people(n_people, 2 * seed), people(n_people, 2 * seed + 1)
        found.append(audit_table(DESIGNS[design](training, n_rows), training, held_out))
    largest = [max(row["auc"] for row in audit.attacks.values()) for audit in found]
    cells = [design, f"{n_rows:,}"]
    cells += [spread([audit.attacks["nearest"][key] for audit in found]) for key in ("auc", "unusual_auc")]
    cells.append(spread(largest))
    cells += [rates([audit.rates.get(name) for audit in found]) for name in ("replay", "trilateration", "inference of ventricles_ml")]
    return f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def rates(rows: list[dict[str, float] | None]) -> str:
    known = [row for row in rows if row]
    if not known:
        return "no distances"
    return " against ".join(f"{np.mean([row[kind] for row in known]):.1%}" for kind in ("training", "held_out"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 10_000])
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--populations", type=int, default=4)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS))
    asked = parser.parse_args()
    assert old_design.JITTER == 0.1
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for n_rows in asked.rows:
        for design in asked.designs:
            print(line(design, n_rows, asked.people, asked.populations), flush=True)


if __name__ == "__main__":
    main()
