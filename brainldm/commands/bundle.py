"""Between MONAI's bundles and our checkpoints: the published weights in, our models out; and a run packed as one small folder."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from brainldm.core import outputs
from brainldm.core.config import Generate, Given
from brainldm.core.files import write_text
from brainldm.formats import publishable
from brainldm.models import autoencoder, bundle, bundle_export, checkpoint, diffusion, pretrained

app = typer.Typer()
IMPORTED = (*(f"train_{name}/model.safetensors" for name in pretrained.NETWORKS), pretrained.SECTION)


@app.command("import")
def import_(
    autoencoder_file: Annotated[Path, typer.Option("--autoencoder", help="autoencoder.pt or autoencoder.pth of the published bundle")],
    diffusion_file: Annotated[Path, typer.Option("--diffusion", help="model.pt or diffusion_model.pth of the published bundle")],
    out: Annotated[Path, typer.Option(help="folder to write to, laid out as results/: two checkpoints and a section file for generate")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """The published brain LDM's weight files, under old or new names of tensors -> checkpoints for `brainldm generate`."""
    out = outputs.check_folder(out, IMPORTED, overwrite, (autoencoder_file, diffusion_file))
    save(out, bundle.read_autoencoder(autoencoder_file), bundle.read_diffusion(diffusion_file))


def save(out: Path, coder: autoencoder.Autoencoder, denoiser: diffusion.Diffusion) -> None:
    """Write both checkpoints below `out`, and how `generate` is to use them: the published grid and number of steps."""
    networks: dict[str, autoencoder.Autoencoder | diffusion.Diffusion] = {"train_autoencoder": coder, "train_diffusion": denoiser}
    for name, network in networks.items():
        path = out / name / "model.safetensors"
        checkpoint.save(path, network.state_dict(), network.spec)
        logging.info("%s: %d parameters", path, sum(parameter.numel() for parameter in network.parameters()))
    own = Generate(batch_size=1, steps=50).model_dump(mode="json")
    given = Given(stage="generate", seed=0, precision="auto", grid=coder.grid, section=own)
    write_text(out / "configure" / "generate.json", given.model_dump_json(indent=2) + "\n")


@app.command()
def export(
    autoencoder_model: Annotated[Path, typer.Option("--autoencoder", help="autoencoder checkpoint")],
    diffusion_model: Annotated[Path, typer.Option("--diffusion", help="diffusion checkpoint")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Our models -> a MONAI bundle, for `python -m monai.bundle run`."""
    outputs.check_folder(out, (), overwrite, (autoencoder_model, diffusion_model))
    coder, denoiser = autoencoder.load(autoencoder_model), diffusion.load(diffusion_model)
    bundle_export.check(coder, denoiser, (autoencoder_model, diffusion_model))
    bundle_export.write(out, coder, denoiser, overwrite)
    logging.info("%s: python -m monai.bundle run --config_file configs/inference.json", out)


@app.command()
def pack(
    results: Annotated[Path, typer.Option(help="folder of a finished run")],
    command: Annotated[str, typer.Option(help="what was run, for the recipe")],
    hardware: Annotated[str, typer.Option(help="what it ran on, for the recipe")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """A finished run's model in 16-bit floats with its recipe: what `brainldm sample --model` takes."""
    pretrained.pack(results, out, {"command": command, "hardware": hardware}, overwrite, publishable.figures)
    logging.info("%s: %.1f MB", out, sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6)
