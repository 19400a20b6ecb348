"""The chapter of the HTML report on membership inference: can anybody tell whose scans the models were trained on?"""

from collections.abc import Mapping
from html import escape
from typing import Any

from brainldm.core.gate import NO_LEAK
from brainldm.formats import html

Report = Mapping[str, Any]
HOLDERS = {
    "images": "the release",
    "autoencoder": "the release and the autoencoder",
    "diffusion": "the latents and the diffusion model",
    "age": "the release and the age model",
}
SHARED = {"autoencoder": "the autoencoder, or latents with it,", "diffusion": "the weights of the diffusion model"}
SAYS = {
    "nearest": "distance to the nearest synthetic volume",
    "density_ratio": "the same, over the distance to held-out scans",
    "reconstruction": "error of the reconstruction",
    "reconstruction_calibrated": "the same, over the distance to held-out scans",
    "denoising_loss": "denoising loss",
    "denoising_loss_calibrated": "the same, over the distance to held-out scans",
    "without_release": "no attack: distance to held-out scans alone",
}
SPACES = {"image": "low-resolution image", "texture": "fine detail", "latent": "latent mean", "feature": "features"}
HEADER = ("attack", "AUC [95 %]", "true positives at 1 % false positives [95 %]", "AUC, most unusual tenth [95 %]", "planted scans, AUC")


def chapter(report: Report) -> str:
    """Return the chapter, or nothing where the report has no attacks."""
    table = report.get("tables", {}).get("membership")
    if not table:
        return ""
    parts = []
    for target, attacks in table.items():
        verdict = report[f"membership_{target}"]
        parts.append(f"<h3>With {escape(HOLDERS[target])}: {escape(verdict)}</h3>")
        parts.append(html.table(HEADER, [_row(name, found) for name, found in attacks.items()]))
    first = next(iter(table["images"].values()))
    caption = (
        f"n = {first['auc_n']:,} training scans against {first['n_others']:,} held-out scans. AUC: how often an attack ranks a training "
        "scan above a held-out one; 0.5 is chance. Planted scans: the AUC that the attack reaches where it must succeed, on copies of "
        "training scans among the synthetic volumes, or with a model that fits some training scans perfectly; good: at least 0.9. "
        "Good: 0.5 within the interval, at most 1 % true positives. Intervals: Newcombe's (2006) for AUC, Clopper and Pearson's for rates."
    )
    meaning = html.paragraph(f"{of_the_volumes(report)} {of_the_models(report)}", "note")
    return html.section("Does it tell who took part?", meaning, *parts, html.paragraph(caption))


def of_the_volumes(report: Report) -> str:
    """Return a sentence that says what the attacks on the volumes mean."""
    strength = _strength(report, "images")
    if report["membership_images"] == NO_LEAK:
        end = "we found no way to tell from the volumes who took part."
    else:
        end = f"the volumes must not be called safe ({report['membership_images']})."
    return f"Whoever has the published volumes and somebody's scan {strength}: {end}"


def of_the_models(report: Report) -> str:
    """Return a sentence that says what the attacks on the networks mean."""
    targets = [target for target in ("autoencoder", "diffusion") if f"membership_{target}_auc" in report]
    if not targets:
        return "No attack was made on the networks, so nothing is known of what weights or latents would tell."
    strengths = " and ".join(f"with {HOLDERS[target]} an attacker {_strength(report, target)}" for target in targets)
    leaking = [SHARED[target] for target in targets if report[f"membership_{target}"] != NO_LEAK]
    if not leaking:
        return f"{strengths[0].upper()}{strengths[1:]}: we found no way to tell from them who took part."
    end = f"publish {' and '.join(leaking)} only where it may be known who took part."
    return f"{strengths[0].upper()}{strengths[1:]}: {end}"


def _strength(report: Report, target: str) -> str:
    """Return how often the strongest attack is right."""
    key = f"membership_{target}"
    if report.get(f"{key}_auc") is None:
        return "could not be put to the test"
    area, low, high = (f"{100 * value:.0f}" for value in (report[f"{key}_auc"], *report[f"{key}_auc_ci"]))
    chance = "; a coin: 50 %" if target == "images" else ""
    return (
        f"picks the training scan out of a training and a held-out scan {area} % of the time "
        f"(strongest attack of {report[f'{key}_attacks']}; 95 % interval: {low} to {high} %{chance})"
    )


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    space, _, kind = name.partition("_")
    label = f"{SPACES[space]}: {SAYS[kind]}" if space in SPACES else SAYS[name]
    planted = "" if found["control_auc"] is None else html.number(found["control_auc"], 2)
    return (
        escape(label),
        _estimate(found, "auc"),
        _estimate(found, "tpr"),
        f"{_estimate(found, 'unusual_auc')}<small>n = {found['unusual_auc_n']:,} against {found['unusual_n_others']:,}</small>",
        planted,
    )


def _estimate(found: Mapping[str, Any], key: str) -> str:
    return html.estimate(html.number(found[key], 2), found[f"{key}_ci"], 2)
