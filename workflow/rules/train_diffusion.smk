"""Latents and covariates in, the diffusion model out."""


rule train_diffusion:
    input:
        section="results/configure/train_diffusion.json",
        covariates="results/covariates/covariates.tsv",
        covariate_model="results/covariate_model/model.json",
        latents="results/encode/latents.json",
    output:
        model="results/train_diffusion/model.safetensors",
        curve="results/train_diffusion/log.csv",
    log:
        "logs/train_diffusion/train_diffusion.log",
    benchmark:
        "results/benchmarks/train_diffusion/train_diffusion.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_diffusion"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --covariate-model {input.covariate_model:q}"
        " --latents {input.latents:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
