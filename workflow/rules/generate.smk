"""One shard: requested rows and two networks in (where rows are drawn again also what judges them); volumes, latents, manifest out."""


rule generate:
    input:
        section="results/configure/generate.json",
        rows="results/request/{shard}.parquet",
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
        segmenter=[SEGMENTER] if CONFIG.generate.attempts > 1 else [],
        age=(
            ["results/train_age/model.safetensors"]
            if CONFIG.generate.attempts > 1
            else []
        ),
    output:
        tar="results/generate/{shard}.tar",
        latents="results/generate/{shard}.safetensors",
        manifest="results/generate/{shard}.json",
    log:
        "logs/generate/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{shard}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    resources:
        device=CONFIG.device,
    params:
        judges=lambda wildcards, input: repeated("--segmenter", input.segmenter)
        + " "
        + repeated("--age", input.age),
    shell:
        "OMP_NUM_THREADS={threads} brainldm generate"
        " --section {input.section:q}"
        " --request {input.rows:q}"
        " --autoencoder {input.autoencoder:q}"
        " --diffusion {input.diffusion:q}"
        " {params.judges}"
        " --device {resources.device:q}"
        " --out {output.manifest:q} 2>&1 | tee {log:q}"


use rule generate as generate_as_published with:
    input:
        section="results/configure/generate_{sampler}.json",
        rows="results/request/{shard}.parquet",
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
        segmenter=[],
        age=[],
    output:
        tar="results/generate/{sampler}/{shard}.tar",
        latents="results/generate/{sampler}/{shard}.safetensors",
        manifest="results/generate/{sampler}/{shard}.json",
    log:
        "logs/generate/{sampler}-{shard}.log",
    benchmark:
        "results/benchmarks/generate/{sampler}-{shard}.tsv"
