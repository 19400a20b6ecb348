"""One shard: requested rows and two networks in; a tar of volumes, their latents and the manifest out."""


rule generate:
    input:
        section="results/configure/generate.json",
        rows="results/request/{shard}.parquet",
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
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
    shell:
        "OMP_NUM_THREADS={threads} brainldm generate"
        " --section {input.section:q}"
        " --request {input.rows:q}"
        " --autoencoder {input.autoencoder:q}"
        " --diffusion {input.diffusion:q}"
        " --device {resources.device:q}"
        " --out {output.manifest:q} 2>&1 | tee {log:q}"


use rule generate as generate_as_published with:
    input:
        section="results/configure/generate_{sampler}.json",
        rows="results/request/{shard}.parquet",
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
    output:
        tar="results/generate/{sampler}/{shard}.tar",
        latents="results/generate/{sampler}/{shard}.safetensors",
        manifest="results/generate/{sampler}/{shard}.json",
    log:
        "logs/generate/{sampler}-{shard}.log",
    benchmark:
        "results/benchmarks/generate/{sampler}-{shard}.tsv"
