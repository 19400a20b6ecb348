"""Scans in, their latent moments out."""


rule encode:
    input:
        section="results/configure/encode.json",
        covariates="results/covariates/covariates.tsv",
        model="results/train_autoencoder/model.safetensors",
    output:
        latents="results/encode/latents.json",
    log:
        "logs/encode/encode.log",
    benchmark:
        "results/benchmarks/encode/encode.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    shell:
        "OMP_NUM_THREADS={threads} brainldm encode"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --model {input.model:q}"
        " --device {resources.device:q}"
        " --out {output.latents:q} 2>&1 | tee {log:q}"
