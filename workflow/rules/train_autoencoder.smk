"""Scans in, the autoencoder out; a network that is trained already lends the features of the perceptual loss."""


rule train_autoencoder:
    input:
        section="results/configure/train_autoencoder.json",
        covariates="results/covariates/covariates.tsv",
        features=CONFIG.train_autoencoder.perceptual_weights
        or "results/train_segmenter/model.safetensors",
    output:
        model="results/train_autoencoder/model.safetensors",
        curve="results/train_autoencoder/log.csv",
    log:
        "logs/train_autoencoder/train_autoencoder.log",
    benchmark:
        "results/benchmarks/train_autoencoder/train_autoencoder.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_autoencoder"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --features {input.features:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
