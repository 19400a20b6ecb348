"""Training scans in; one of the paper's competitors out, and volumes that it makes. Optional: of the rule paper_table."""


rule train_baseline:
    input:
        section="results/configure/train_baseline.json",
        covariates="results/covariates/covariates.tsv",
    output:
        model="results/train_baseline/{baseline}/model.safetensors",
        curve="results/train_baseline/{baseline}/log.csv",
    log:
        "logs/train_baseline/{baseline}.log",
    benchmark:
        "results/benchmarks/train_baseline/{baseline}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_baseline"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --method {wildcards.baseline:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"


rule generate_baseline:
    input:
        section="results/configure/generate_ddim.json",
        rows="results/request/{shard}.parquet",
        model="results/train_baseline/{baseline}/model.safetensors",
    output:
        tar="results/train_baseline/{baseline}/{shard}.tar",
        latents="results/train_baseline/{baseline}/{shard}.safetensors",
        manifest="results/train_baseline/{baseline}/{shard}.json",
    log:
        "logs/train_baseline/{baseline}-{shard}.log",
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    resources:
        device=CONFIG.device,
    shell:
        "OMP_NUM_THREADS={threads} brainldm generate"
        " --section {input.section:q}"
        " --request {input.rows:q}"
        " --autoencoder {input.model:q}"
        " --device {resources.device:q}"
        " --out {output.manifest:q} 2>&1 | tee {log:q}"
