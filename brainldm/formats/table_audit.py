"""The report's chapter on what the released table tells about the people behind it."""

from collections.abc import Mapping
from html import escape
from typing import Any

from brainldm.formats import html

ATTACKS = {
    "nearest": "membership, by the distance to the nearest released row",
    "density": "membership, by the density of released rows over that of held-out people",
    "likelihood": "membership, by the likelihood under a normal distribution fitted to the release",
}
RATES = {
    "replay": "replay: participants found by running the published code with the published seed",
    "trilateration": "trilateration: participants found from published distances",
    "extremes": "published extremes and cell edges that are somebody's own values",
    "singling out": "singling out: people of whom a guess from the release fits nobody else",
    "linkability": "linkability: people whose age and volumes lead to the same released row",
}


def chapter(report: Mapping[str, Any]) -> str:
    """Return the chapter, or nothing where the report holds no audit of the table."""
    if "table_audit" not in report:
        return ""
    text = (
        f"Audit of the table: {report['table_audit']}. Each attack uses the requested covariates, the code and the seed, as a reader of "
        "the release could, and is tried on training participants and, as control, on held-out people of the same population. An AUC of "
        "0.5, and equal rates, mean that the table tells nothing of who was trained on. The last column is the AUC where each participant "
        "was planted in the table: it shows that the attack can see."
    )
    areas = [
        (
            escape(ATTACKS.get(name, name)),
            html.estimate(html.number(row["auc"]), row["auc_ci"]),
            html.estimate(html.number(row["unusual_auc"]), row["unusual_auc_ci"]),
            html.estimate(html.number(row["tpr"]), row["tpr_ci"]),
            html.number(row["control_auc"]),
        )
        for name, row in report["tables"]["table_attacks"].items()
    ]
    rates = [
        (
            escape(RATES.get(name, name)),
            html.estimate(html.number(row["training"]), row["training_ci"]),
            html.estimate(html.number(row["held_out"]), row["held_out_ci"]),
        )
        for name, row in report["tables"]["table_rates"].items()
    ]
    heads = (
        "attack",
        "AUC [95 %]",
        "AUC, most unusual tenth [95 %]",
        "true positives at 1 % false positives [95 %]",
        "planted people, AUC",
    )
    return html.section(
        "Does the table tell who took part?",
        html.paragraph(text, "note"),
        html.table(heads, areas),
        html.table(("attack", "succeeds on training participants", "on held-out people"), rates),
    )
