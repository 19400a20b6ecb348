"""Chapters of the HTML report: each answers one question, and its caption says what good looks like."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from brainldm.core.grid import Grid
from brainldm.core.story import STORY
from brainldm.formats import dag, figures, html
from brainldm.formats.evaluation import EMBEDDED, Evaluation

Report = Mapping[str, Any]

ORIENTATION = (
    "Each strip: axial, coronal, sagittal. Neurological display: the left edge of the axial and coronal pictures is the subject's left; "
    "the sagittal one looks to the right."
)
# key of this run, key of its real counterpart, name, digits, what good looks like
HEADLINE = (
    ("ventricles_r", None, "Ventricles: requested against measured, r", 3, "1: the brain has the ventricles that were asked for"),
    ("ventricles_slope", None, "Ventricles: slope of measured over requested", 2, "1; near 0 nothing is obeyed, however high r is"),
    ("ventricles_bias_ml", None, "Ventricles: mean of measured - requested, mL", 2, "0"),
    ("brain_r", None, "Brain volume (normalised for head size): requested against measured, r", 3, "1"),
    ("brain_partial_r", None, "Brain volume: partial r, sex, age and ventricles held equal", 3, "1; 0: only guessed from the others"),
    (
        "age_r",
        "age_r_real",
        "Age: requested against predicted, r",
        3,
        "as high as on real held-out scans (the age model errs on those too)",
    ),
    ("age_partial_r", "age_partial_r_real", "Age: partial r, sex and volumes held equal", 3, "as high as on real held-out scans"),
    ("age_mae_years", "age_mae_years_real", "Age: mean absolute error, years", 2, "as low as on real held-out scans"),
    ("fid", "fid_real", "FID", 4, "as low as real against real; features: {fid_features}"),
    ("ms_ssim", "ms_ssim_real", "MS-SSIM between volumes", 4, "as real: higher means too alike; n counts pairs"),
    ("g4r_ssim", "g4r_ssim_real", "4-G-R-SSIM between volumes", 4, "as real: higher means too alike; n counts pairs"),
    (
        "nearest_train_ratio",
        None,
        "Distance to the nearest training scan, over that of held-out real scans",
        3,
        "about 1; far below means copies",
    ),
    ("kid", "kid_real", "KID", 4, "about 0, as real against real"),
    ("coverage", "coverage_real", "Coverage: real scans that have a synthetic one near", 3, "as real against real"),
    ("sharpness", "sharpness_real", "Sharpness: rms Laplacian over standard deviation", 3, "as real scans; lower is blurred"),
    ("rejection_rate", None, "Draws that the quality check rejected", 3, "0: nothing was chosen; by stratum below"),
    ("copy_rate", "audit_false_alarms", "Copies of training scans; beside it false alarms", 3, "0; audit: {audit}"),
    ("autoencoder_psnr_db", None, "Autoencoder: PSNR of held-out reconstructions, dB", 1, "higher"),
    ("autoencoder_ms_ssim", None, "Autoencoder: MS-SSIM of held-out reconstructions with their originals", 4, "1"),
    ("autoencoder_ventricles_r", None, "Autoencoder: ventricles of reconstructions against originals, r", 3, "1"),
    ("segmenter_ventricles_r", None, "Segmenter: ventricles of held-out scans against the truth, r", 3, "1: the ruler is right"),
)
# key of a ladder, its name, unit, and what the paper's Fig. 4 shows at which min-max values
FIGURE_4 = (
    ("beyond_ventricles_ml", "ventricles", "mL", {1.5: "enlarged", 1.9: "enlarged more", -0.5: "nearly none"}),
    ("beyond_brain_ml", "brain volume", "mL", {-0.1: "atrophy", -0.3: "more atrophy", -0.5: "most atrophy"}),
)
# prefix of its figures, requested column, measured column, unit in keys, label; the first two are the paper's Fig. 3
SCATTERS = (
    ("ventricles", "ventricles_ml", "measured_ventricles_ml", "ml", "ventricular volume (mL)"),
    ("age", "age_years", "age_predicted_years", "years", "age (years)"),
    ("brain", "brain_ml", "measured_brain_ml", "ml", "brain volume, normalised (mL)"),
)
GOOD_LADDER = {
    "ladder": "Good: the change lies where anatomy puts it, and the rest of the brain stays as it was.",
    "beyond": "Values that no training scan has, as far outside as in the paper's Fig. 4, and some within as anchors. "
    "Good: the change goes on in the same direction, and the picture is still a brain.",
}
UNITS = {"ml": "mL", "years": "years"}


def headline(report: Report) -> str:
    """The table of figures: this run, real data of this run, the paper."""
    rows = [
        (
            f"{escape(name)}<small>good: {escape(good.format_map(report))}</small>",
            _cell(report, key, digits),
            _cell(report, real, digits),
            " / real ".join(filter(None, (_published(report, key, digits), _published(report, real, digits)))),
        )
        for key, real, name, digits, good in HEADLINE
        if key in report
    ]
    text = (
        f"This run: {report['population']}, {report['resolution']}. Paper: {report['paper']['label']}, 1 mm ({report['paper']['source']}). "
        "Another population at another resolution, with another segmenter and other features for FID: the last column shows what was "
        "reached there and is no contest. Compare this run with its own real data. In brackets: 95 % intervals."
    )
    table = html.table(("", "this run", "real data, this run", report["paper"]["label"]), rows, "stacked")
    return html.section("What came out", html.paragraph(text, "note"), table)


def headline_text(report: Report) -> str:
    """The same figures as plain text, for a terminal."""
    lines = [f"{report['n_synthetic']} synthetic volumes of {report['population']}, {report['resolution']}"]
    for key, real, name, digits, _ in HEADLINE:
        if key in report:
            beside = f"   real {html.number(report[real], digits)}" if real and real in report else ""
            lines.append(f"  {name}: {html.number(report[key], digits)} (n = {report[f'{key}_n']}){beside}")
    return "\n".join(lines)


def _cell(report: Report, key: str | None, digits: int) -> str:
    if key is None or key not in report:
        return ""
    found = html.estimate(html.number(report[key], digits), report.get(f"{key}_ci"), digits)
    return f"<b>{found}</b><small>n = {report[f'{key}_n']:,}</small>"


def _published(report: Report, key: str | None, digits: int) -> str:
    value = report["paper"].get(key)
    return "" if value is None else html.number(value, digits)


def story() -> str:
    """The graph of stages and what each does."""
    drawing = html.figure(
        dag.dag_svg({name: stage.reads for name, stage in STORY.items()}),
        "An arrow leads from a stage to one that reads its files; arrows that a longer path implies are left out.",
    )
    rows = [(f"<code>{escape(name)}</code>", escape(stage.summary)) for name, stage in STORY.items()]
    return html.section("How it was made", html.row(drawing, f"<figure>{html.table(('stage', 'does'), rows)}</figure>"))


def private_contents(found: Evaluation, n_checked: int) -> tuple[str, str, str]:
    """Return three paragraphs: what of real people a page of `found` with `n_checked` checked scans holds, why it matters, what to do."""
    volumes = found.volumes
    people = {*found.shown["real"], *found.shown["near_train"]}
    holds = (
        f"It holds {len(volumes['real_labels'])} real scans as whole volumes (in the viewer), pictures of {len(volumes['real'])} held-out "
        f"scans, of {len(volumes['near_train'])} training scans and of {n_checked} scans of the quality check, the ids of at least "
        f"{max(len(people), n_checked)} people, and the age and predicted age of {len(found.shown['held_out_ages']['true']):,}."
    )
    embedded = found.report["population"] == EMBEDDED
    who = "In this run they are deformed copies of a template, nobody's scans; of your own run they are people's. " if embedded else ""
    return (
        holds,
        f"{who}Who has this page can find a person again by a scan, an id or an age.",
        "Publish report-public.html instead: it shows synthetic volumes and figures of many people only.",
    )


def contact_sheet(found: Evaluation, grid: Grid, seed: int) -> str:
    """Return real held-out and synthetic volumes, which a box mixes; of an evaluation without real volumes the synthetic ones."""
    kinds = [kind for kind in ("real", "synthetic") if kind in found.volumes]
    n = {kind: len(found.volumes[kind]) for kind in kinds}
    places = iter(np.random.default_rng([seed, 12]).permutation(sum(n.values())).tolist())
    groups = [
        f"<h3>{kind}</h3>"
        + html.tiles(
            strip(volume, grid, name, kind, next(places)) for volume, name in zip(found.volumes[kind], found.shown[kind], strict=True)
        )
        for kind in kinds
    ]
    if "real" in kinds:
        toggle = '<label class="mixed"><input type="checkbox"> Test yourself: mix them and hide which is which</label>'
        shown, good = f"n = {n['real']} held-out real scans and ", "once mixed, they cannot be told apart"
    else:
        toggle, shown, good = "", "", "a brain from every side, each with folds and ventricles of its own"
    caption = f"{shown}n = {n['synthetic']} synthetic volumes, drawn at random, none chosen by eye. {ORIENTATION} Good: {good}."
    sheet = f'<div class="sheet">{toggle}<div class="pool">{"".join(groups)}</div></div>'
    return html.section("Does it look like a brain?", sheet, html.paragraph(caption))


def strip(volume: np.ndarray, grid: Grid, caption: str, kind: str, place: int | None = None) -> str:
    """Three planes of a volume [I,J,K] with a caption."""
    return html.figure(html.image(figures.grey_png(figures.strip(volume, grid)), "three planes of a brain"), caption, kind, place)


def obedience(found: Evaluation) -> str:
    """Scatter plots of requested against measured covariates."""
    plots = []
    for name, requested, measured, unit, label in SCATTERS:
        r = f"this run: r = {html.number(found.report[f'{name}_r'])}{html.interval(found.report[f'{name}_r_ci'])}"
        paper = found.report["paper"]
        note = f"{r}\n{paper['label']}: r = {paper[f'{name}_r']}" if f"{name}_r" in paper else r
        ages = found.shown.get("held_out_ages")
        real = (np.array(ages["true"]), np.array(ages["predicted"])) if name == "age" and ages else None
        labels = (f"requested {label}", f"{'predicted' if name == 'age' else 'measured'} {label}")
        svg = figures.scatter_svg(found.agreement[requested].to_numpy(), found.agreement[measured].to_numpy(), labels, note, real)
        plots.append(html.figure(svg, _scatter_caption(found.report, name, unit, real)))
    text = "Ventricles and age as in the paper's Fig. 3 (n = 1,000 there, UK Biobank, 1 mm; it gives no intervals)."
    return html.section("Does it obey?", html.paragraph(text), html.row(*plots))


def _scatter_caption(report: Report, name: str, unit: str, real: tuple[np.ndarray, np.ndarray] | None) -> str:
    slope, bias, mae = (
        f"{html.number(report[f'{name}_{key}'], 2)}{html.interval(report[f'{name}_{key}_ci'], 2)}"
        for key in ("slope", f"bias_{unit}", f"mae_{unit}")
    )
    text = (
        f"n = {report['n_synthetic']:,} synthetic volumes; slope {slope}, bias {bias} {UNITS[unit]}, "
        f"mean absolute error {mae} {UNITS[unit]}{_others_equal(report, name)}. Good: points on the dashed line."
    )
    if real is None:
        return text
    return f"{text} Triangles: age of n = {len(real[0]):,} real held-out scans against its prediction; good is a cloud no wider."


def _others_equal(report: Report, name: str) -> str:
    """Partial r and slope, where the other covariates do not determine this one."""
    told = [
        f"{key} {html.number(report[figure], 2)}{html.interval(report[f'{figure}_ci'], 2)}"
        for key, figure in (("r", f"{name}_partial_r"), ("slope", f"{name}_partial_slope"))
        if figure in report
    ]
    return f"; the other covariates being equal {' and '.join(told)}" if told else ""


def ladder(found: Evaluation, kind: str, name: str, label: str, grid: Grid) -> str:
    """One brain with one covariate moved: pictures, differences to the first, and a curve; `kind` is ladder or beyond."""
    ladder = found.shown[f"{kind}_{name}"]
    requested, measured = (np.array(ladder[key]) for key in ("requested", "measured"))
    verb, unit, thing = "predicted" if name == "age_years" else "measured", label.split("(")[1].rstrip(")"), label.split(" (")[0]
    pictures = [figures.planes(volume, grid)[0] for volume in found.volumes[f"{kind}_{name}"]]
    steps = [
        html.figure(
            html.image(figures.grey_png(picture), "axial plane")
            + html.image(figures.difference_png(picture - pictures[0]), "difference to the first"),
            f"asked {html.number(asked, 0)}, {verb} {html.number(got, 0)} {unit}",
            "synthetic",
        )
        for picture, asked, got in zip(pictures, requested, measured, strict=True)
    ]
    limit = html.number(figures.DIFFERENCE_LIMIT, 1)
    scale = f'<div class="scale">-{limit} <i></i> +{limit} intensity, difference to the first picture</div>'
    caption = (
        f"One brain, n = {len(steps)} volumes from the same noise; only the {thing} moves, all else stays at the training scans' median. "
        f"Axial planes, the left edge is the subject's left; below each the difference to the first. {GOOD_LADDER[kind]}"
    )
    curve = html.figure(
        figures.ladder_svg(requested, measured, (f"requested {label}", f"{verb} {label}"), kind),
        f"n = {len(steps)} volumes; slope {html.number(ladder['slope'], 2)}. Good: points on the dashed line.",
    )
    both = html.beside(html.tiles(steps, "narrow") + scale, curve)
    title = f"What changes with the {thing}?" if kind == "ladder" else f"Beyond the training range: {thing}"
    return html.section(title, both, html.paragraph(caption))


def figure_4(found: Evaluation, grid: Grid) -> str:
    """The paper's Fig. 4 in its layout: volumes asked for beyond the training range, beside what was published."""
    rows = []
    for key, name, unit, published in FIGURE_4:
        steps = found.shown[key]
        places = [int(np.argmin(np.abs(np.array(steps["scaled"]) - value))) for value in published]
        rows += [
            strip(
                found.volumes[key][place],
                grid,
                f"{name} {value:+.1f}. This run: asked {html.number(steps['requested'][place], 0)}, measured "
                f"{html.number(steps['measured'][place], 0)} {unit}. {found.report['paper']['label']}: {says}.",
                "synthetic",
            )
            for (value, says), place in zip(published.items(), places, strict=True)
        ]
    caption = (
        f"n = {len(rows)} volumes from the same noise; 0 and 1 are the lowest and highest value of the training scans, all else stays at "
        f"their median. The paper judges its pictures by eye and gives no measured volumes. {ORIENTATION} Good: as published, and a brain."
    )
    return html.section("Beyond the training range: the paper's Fig. 4", html.tiles(rows, "three"), html.paragraph(caption))


def failures(found: Evaluation, grid: Grid) -> str:
    """The worst volumes by quality check and by obedience."""
    rows = zip(found.volumes["worst"], found.shown["worst"], found.shown["worst_reason"], strict=True)
    pictures = [strip(volume, grid, f"{name}: {reason}", "synthetic") for volume, name, reason in rows]
    passed = html.number(100 * found.report["qc_pass_fraction"], 1)
    caption = (
        f"{passed} % of n = {found.report['n_synthetic']:,} volumes pass the quality check. Shown: the n = {len(pictures)} worst, "
        "first those that fail, then those whose ventricles miss the request by most. Good: even these are brains."
    )
    return html.section("Where does it fail?", html.tiles(pictures), html.paragraph(caption))


def trainings(logs: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Loss curves of every training."""
    plots = [
        html.figure(
            figures.losses_svg(log, name),
            f"{name}: {int(log['step'][-1]):,} steps in {float(log['seconds'][-1]):,.0f} s; "
            f"n = {len(log['step']):,} logged means, faint, and smoothed. Good: falling, then flat; adversarial parts hover.",
        )
        for name, log in logs.items()
    ]
    return html.section("Did the trainings converge?", html.row(*plots))


def everything(report: Report) -> str:
    """All keys of report.json that hold a number or a short text."""
    rows = [
        (f"<code>{escape(key)}</code>", escape(str(value) if isinstance(value, int | str) else html.number(value, 4)))
        for key, value in report.items()
        if isinstance(value, (int, float, str, type(None)))
    ]
    return html.section("All numbers", html.folded(f"{len(rows)} entries of report.json", html.table(("key", "value"), rows)))
