"""Synthetic volumes and held-out scans in; what the volumes are good for, as a table, out. Optional: `snakemake utility`."""


rule utility:
    input:
        section="results/configure/utility.json",
        evaluate="results/configure/evaluate.json",
        covariates="results/covariates/covariates.tsv",
        shards=expand("results/generate/{shard}.json", shard=TRAINED_ON["both"]),
        real=[
            "results/train_age/model.safetensors",
            *expand(
                "results/utility/real-{repeat}/model.safetensors", repeat=REPEATS[1:]
            ),
        ],
        synthetic=expand(
            "results/utility/synthetic-{repeat}/model.safetensors", repeat=REPEATS
        ),
        both=expand("results/utility/both-{repeat}/model.safetensors", repeat=REPEATS),
    output:
        table="results/utility/table.json",
        text="results/utility/table.md",
        figure="results/utility/figure.png",
    log:
        "logs/utility/utility.log",
    benchmark:
        "results/benchmarks/utility/utility.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    params:
        tables=lambda wildcards, input: " ".join(
            repeated(f"--{name}", input[name]) for name in TRAINED_ON
        ),
        shards=lambda wildcards, input: repeated("--shard", input.shards),
    shell:
        "OMP_NUM_THREADS={threads} brainldm utility"
        " --section {input.section:q}"
        " --evaluate {input.evaluate:q}"
        " --covariates {input.covariates:q}"
        " {params.shards}"
        " {params.tables}"
        " --device {resources.device:q}"
        " --out {output.table:q} 2>&1 | tee {log:q}"


rule train_age_on:
    input:
        section="results/configure/train_age.json",
        covariates="results/covariates/covariates.tsv",
        rows=lambda wildcards: expand(
            "results/request/{shard}.parquet", shard=TRAINED_ON[wildcards.training]
        ),
        shards=lambda wildcards: expand(
            "results/generate/{shard}.json", shard=TRAINED_ON[wildcards.training]
        ),
    output:
        model="results/utility/{training}-{repeat}/model.safetensors",
        curve="results/utility/{training}-{repeat}/log.csv",
    log:
        "logs/utility/{training}-{repeat}.log",
    benchmark:
        "results/benchmarks/utility/{training}-{repeat}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    params:
        data=lambda wildcards, input: " ".join(
            (
                repeated("--request", input.rows),
                repeated("--shard", input.shards),
                repeated(
                    "--covariates",
                    [input.covariates] if wildcards.training != "synthetic" else [],
                ),
            )
        ),
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_age"
        " --section {input.section:q}"
        " {params.data}"
        " --repeat {wildcards.repeat:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
