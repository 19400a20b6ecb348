"""Chapters of the HTML report that judge: verdicts, features, diversity, copies, anatomy, coverage."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain, groupby
from typing import Any

from brainldm.core.grid import Grid
from brainldm.formats import figures, html
from brainldm.formats.chapters import ORIENTATION, UNITS, strip
from brainldm.formats.evaluation import Evaluation

Report = Mapping[str, Any]


def verdicts(report: Report) -> str:
    """Each way in which a generator can fail, the figure that shows it, and whether it stays within its limit."""
    rows = [
        (
            escape(name),
            f"<code>{escape(row['figure'])}</code>",
            f"{_with_interval(report, row)}<small>{escape(row['sense'])} {_value(row['limit'])}</small>",
            "yes" if row["passed"] else "<b>NO</b>",
        )
        for name, row in report["verdicts"].items()
    ]
    text = (
        "Limits are the real scans' own value with some room, or plain numbers; they tell a broken generator from a sound one, "
        "not a good one from a better."
    )
    table = html.table(("the generator", "figure", "value, limit", "passed"), rows, "stacked")
    return html.section("Is it sound?", html.paragraph(text), table)


def _with_interval(report: Report, row: Mapping[str, Any]) -> str:
    figure = row["figure"]
    n = f" <small>n = {report[f'{figure}_n']:,}</small>" if f"{figure}_n" in report else ""
    value = row["value"] if isinstance(row["value"], str) else html.number(row["value"])
    return html.estimate(value, report.get(f"{figure}_ci")) + n


def _value(value: Any) -> str:
    return escape(value) if isinstance(value, str) else html.number(value)


COMPANIONS = (
    ("kid", "kernel distance (KID)"),
    ("precision", "precision: synthetic among the real"),
    ("recall", "recall: real among the synthetic"),
    ("density", "density"),
    ("coverage", "coverage: real with a synthetic neighbour"),
)


def features(report: Report) -> str:
    """Return FID against the number of volumes, real against real beside it; nothing where too few scans may be told of."""
    curve = report["fid_curve"]
    if not curve["n"]:
        return ""
    lines = [(name, curve[key], curve[f"{key}_ci"]) for name, key in (("synthetic", "fid"), ("real", "fid_real"))]
    caption = (
        f"FID between n real scans (of training and held out) and n others; bands: 95 % of {report['fid_draws']} draws. "
        f"FID falls with n, so only equal n compare. Features: {report['fid_features']}. Good: synthetic where real is."
    )
    rows = [(escape(says), *(_interval(report, f"{name}{end}") for end in ("", "_real"))) for name, says in COMPANIONS]
    table = html.figure(html.table(("", "synthetic", "real"), rows), f"n = {report['kid_n']:,} of each kind. Good: as real against real.")
    return html.section(
        "Do features tell it from real?", html.row(html.figure(figures.curve_svg(curve["n"], lines, "FID"), caption), table)
    )


def _interval(report: Report, key: str) -> str:
    return html.estimate(html.number(report[key]), report[f"{key}_ci"])


def diversity(report: Report) -> str:
    """Similarity of random pairs: synthetic, reconstructed and real."""
    kinds = (("synthetic", ""), ("reconstructed", "_reconstruction"), ("real", "_real"))
    plots = []
    for name, label in (("ms_ssim", "MS-SSIM"), ("g4r_ssim", "4-G-R-SSIM")):
        known = [(kind, end) for kind, end in kinds if report[f"{name}{end}"] is not None]
        rows = [(kind, report[f"{name}{end}"], report[f"{name}{end}_ci"]) for kind, end in known]
        counts = ", ".join(f"{report[f'{name}{end}_n']:,} {kind}" for kind, end in kinds)
        caption = f"n pairs: {counts}; bars: 95 %, for other volumes. Good: synthetic where real is; further right is too alike."
        plots.append(html.figure(figures.intervals_svg(rows, f"mean {label} of random pairs"), caption))
    variants = (("single scale", "g4r_ssim_single_scale"), ("not regularised (4-G-SSIM)", "g4r_ssim_plain"))
    cells = [(label, *(_interval(report, f"{name}{end}") for _, end in kinds)) for label, name in variants]
    table = html.figure(html.table(("4-G-R-SSIM", *(kind for kind, _ in kinds)), cells), "The paper does not say which it means.")
    weights = ", ".join(html.number(weight) for weight in report["ms_ssim_weights"])
    text = (
        "Both similarities use a Gaussian window of 7 voxels and as many of the five scales as the grid allows "
        f"(MS-SSIM weights {weights}). Reconstructed are held-out real scans passed through the autoencoder: "
        "from real to reconstructed is the autoencoder's blur, from there to synthetic is what the diffusion model adds."
    )
    return html.section("Is it diverse?", html.paragraph(text), html.row(*plots), table)


def copies(found: Evaluation, grid: Grid) -> str:
    """Return what the privacy audit says and, where the evaluation holds them, the volumes most like a training scan, beside it."""
    report, volumes, shown = found.report, found.volumes, found.shown
    rows = [(escape(says), _percent(report[key], report[f"{key}_ci"]), f"{report[f'{key}_n']:,}") for key, says in AUDIT if key in report]
    verdict = (
        f"Audit: {report['audit']}. A copy lies much nearer to one training scan than to scans that were never trained on. "
        f"The audit passes only if it finds planted copies, if it can exclude a copy rate of {report['audit_limit']:.0%}, and if no "
        "volume is as near to a training scan as planted copies are."
    )
    parts = [html.paragraph(verdict, "note"), html.table(("share", "[95 %]", "n"), rows)]
    if "near_train" not in volumes:
        return html.section("Is it a copy?", *parts)
    pairs = (
        (
            strip(synthetic, grid, f"{name}: {html.number(score, 2)} of the distance below which it would count as a copy", "synthetic"),
            strip(scan, grid, f"{neighbour}, the training scan that it most resembles", "real"),
        )
        for synthetic, scan, name, neighbour, score in zip(
            volumes["near_synthetic"], volumes["near_train"], shown["near_synthetic"], shown["near_train"], shown["near_score"], strict=True
        )
    )
    caption = (
        f"The n = {len(shown['near_score'])} of {report['n_synthetic']:,} synthetic volumes that most resemble a training scan, "
        "each before it. "
        f"{ORIENTATION} Good: alike as two people are alike, with folds and ventricles of their own."
    )
    return html.section("Is it a copy?", *parts, html.tiles(chain.from_iterable(pairs)), html.paragraph(caption))


AUDIT = (
    ("copy_rate", "synthetic volumes that count as copies; good: 0"),
    ("copies_as_planted", "synthetic volumes nearer to a training scan than half of the planted copies of one kind; must be 0"),
    ("audit_found_altered", "planted copies found: training scans moved by up to 1 mm, up to 10 % brighter or darker, noisy; good: all"),
    ("audit_found_decoded", "planted copies found: training scans as the autoencoder returns them; good: all"),
    ("audit_false_alarms", "held-out real scans that count as copies; good: below 1 %"),
)


def _percent(value: float | None, interval: Sequence[float | None]) -> str:
    return "not computed" if value is None else f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def anatomy(report: Report) -> str:
    """Region by region: effect sizes of synthetic against real, matched on age and sex; nothing where too few could be matched."""
    found = report["tables"]["anatomy"]
    if not found:
        return ""
    rows = [(name, row["d"], (row["d_low"], row["d_high"])) for name, row in found.items() if row["d"] is not None]
    n, n_real = (max(row[key] for row in found.values()) for key in ("n", "n_real"))
    caption = (
        f"Cohen's d of n = {n:,} synthetic volumes against {n_real:,} real scans of the same sex and age (5-year spans); "
        "right of 0 the synthetic region is larger. Good: 0 within the 95 % interval; 0.2 is called small, 0.8 large."
    )
    cells = [
        (escape(name), *(html.number(row[key], 1) for key in ("mean_real_ml", "mean_ml", "wasserstein_ml")), html.number(row["d"], 2))
        for name, row in found.items()
    ]
    table = html.table(("region", "real, mL", "synthetic, mL", "Wasserstein, mL", "d"), cells)
    plot = html.figure(figures.intervals_svg(rows, "Cohen's d, synthetic - real", at=0.0), caption)
    return html.section("Is the anatomy right?", html.row(plot, f"<figure>{table}</figure>"))


def coverage(report: Report) -> str:
    """How many volumes each cell of age, sex and ventricles has, and how wrong they are; and agreement by decile of the request."""
    tables = report["tables"]
    cells = groupby(tables["coverage"], key=lambda row: (row["sex"], row["age_years"]))
    rows = [(f"{sex}, {age}", *(_cell(row) for row in group)) for (sex, age), group in cells]
    header = ("sex, age in years", *dict.fromkeys(f"ventricles {row['ventricles_ml']} mL" for row in tables["coverage"]))
    caption = (
        "Each cell: synthetic volumes; below it training scans, mean absolute error of the synthetic ventricles in mL, and the share "
        "of draws that the quality check rejected, where any were. Good: filled where the training scans are, and errors alike."
    )
    support = tables["support"]["ventricles"]
    sides = " and ".join(f"{html.number(row['mae'], 2)} mL for the {row['n']:,} {name}" for name, row in support.items() if row["n"])
    text = f"Rows inside the training range lie near a training participant of their sex. The ventricles' mean absolute error is {sides}."
    deciles = [_deciles(name, rows, report) for name, rows in tables["deciles"].items()]
    return html.section(
        "Whom does it cover?",
        html.table(header, rows),
        html.paragraph(caption),
        _rejections(report),
        html.paragraph(text),
        html.folded("By decile", "".join(deciles)),
    )


def _cell(row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return f"0<small>{row['n_train']} in training</small>"
    rejected = f", {row['rejection_rate']:.0%} rejected" if row["rejection_rate"] else ""
    return f"<b>{row['n']}</b><small>{row['n_train']} in training, {html.number(row['ventricles_mae_ml'], 1)} mL{rejected}</small>"


def _rejections(report: Report) -> str:
    """How often the quality check rejected a draw, in all and by cell: a set that hides its rejects looks better than its generator."""
    why = "; ".join(f"{name}: {count}" for name, count in report["tables"]["rejected"].items())
    text = (
        f"The quality check rejected {_percent(report['rejection_rate'], report['rejection_rate_ci'])} of n = "
        f"{report['rejection_rate_n']:,} draws{f' ({why})' if why else ''}; {report['kept_failed']:,} volumes that failed it are kept "
        "and flagged. No rule looks at what was requested."
    )
    rows = [
        (
            escape(f"{row['sex']}, {row['age_years']} years, ventricles {row['ventricles_ml']} mL"),
            f"{row['n']}<small>of {row['rejection_rate_n']} draws; {row['kept_failed']} failed, yet kept</small>",
            _percent(row["rejection_rate"], row["rejection_rate_ci"]),
            f"{html.number(row['ventricles_bias_ml'], 1)} mL<small>absolute {html.number(row['ventricles_mae_ml'], 1)} mL</small>",
        )
        for row in report["tables"]["coverage"]
        if row["n"]
    ]
    header = ("stratum", "volumes", "draws rejected [95 %]", "mean error of ventricles")
    return html.paragraph(text) + html.folded("Rejected draws by stratum", html.table(header, rows, "stacked"))


def _deciles(name: str, rows: Sequence[Mapping[str, Any]], report: Report) -> str:
    unit = next(unit for key, unit in UNITS.items() if f"{name}_bias_{key}" in report)
    cells = [(str(row["n"]), *(html.number(row[key], 1) for key in ("requested", "measured", "bias", "mae"))) for row in rows]
    header = ("n", f"requested, {unit}", f"measured, {unit}", "bias", "mean absolute error")
    return f"<h3>{escape(name)}</h3>{html.table(header, cells)}"
