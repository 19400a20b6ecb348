"""10,000 rows of tiny networks through the real Snakefile: memory and time of every shard, which must not grow with their number.

python benchmarks/shards.py --rows 10000    # 5 minutes of CPU time; without it 1,000 rows
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from brainldm.core.rows import shard_names
from brainldm.formats.shard_set import join

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"(\d+) rows, ([\d.]+) s each \(CPU ([\d.]+) s\), at most (\d+) MB")


def run(folder: Path, n_rows: int, per_shard: int, batch_size: int) -> list[Path]:
    """The manifests of the shards, generated after a tiny training on the embedded population."""
    values = yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text())
    values["request"] |= {"n_rows": n_rows, "rows_per_shard": per_shard}
    values["generate"] |= {"batch_size": batch_size, "attempts": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    manifests = [f"results/generate/{shard}.json" for shard in shard_names(n_rows, per_shard)]
    command = ["snakemake", *manifests, "--snakefile", ROOT / "Snakefile", "--configfile", folder / "config.yaml", "--directory", folder]
    profile = ["--workflow-profile", ROOT / "workflow/profiles/default", "--cores", "2"]
    subprocess.run([sys.executable, "-m", *map(str, [*command, *profile])], check=True, stdout=sys.stderr)
    return [folder / manifest for manifest in manifests]


def measured(folder: Path, manifests: list[Path]) -> np.ndarray:
    """Seconds and CPU-seconds of a row, and MB at the peak, of every shard [S,3]."""
    logs = [(folder / f"logs/generate/{manifest.stem}.log").read_text() for manifest in manifests]
    found = [LINE.search(log) for log in logs]
    return np.array([[float(value) for value in match.groups()[1:]] for match in found if match])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--per-shard", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=50)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifests = run(folder, options.rows, options.per_shard, options.batch_size)
        indices = [row["index"] for manifest in join(manifests) for row in manifest["rows"]]
        assert indices == list(range(options.rows)), "a row is missing or double"
        table = measured(folder, manifests)
    print(f"{options.rows} rows in {len(manifests)} shards, each row once, in batches of {options.batch_size}")
    print("shard            s a row   CPU-s a row   peak MB")
    for manifest, (wall_s, cpu_s, peak_mb) in zip(manifests, table, strict=True):
        print(f"{manifest.stem}   {wall_s:.4f}    {cpu_s:.4f}        {peak_mb:.0f}")
    ends = max(1, len(table) // 5)
    first, last = table[:ends].mean(0), table[-ends:].mean(0)
    print(f"last {ends} shards over first {ends}: CPU time of a row {last[1] / first[1]:.2f}, peak memory {last[2] / first[2]:.2f}")


if __name__ == "__main__":
    main()
