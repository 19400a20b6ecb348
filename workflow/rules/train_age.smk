"""Training scans and ages in, the age model out."""


rule train_age:
    input:
        section="results/configure/train_age.json",
        covariates="results/covariates/covariates.tsv",
    output:
        model="results/train_age/model.safetensors",
        curve="results/train_age/log.csv",
    log:
        "logs/train_age/train_age.log",
    benchmark:
        "results/benchmarks/train_age/train_age.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_age"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
