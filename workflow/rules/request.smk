"""The training covariates in; the covariates of one shard of volumes out."""


rule request:
    input:
        section="results/configure/request.json",
        covariates="results/covariates/covariates.tsv",
    output:
        rows="results/request/{shard}.parquet",
    log:
        "logs/request/{shard}.log",
    benchmark:
        "results/benchmarks/request/{shard}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} brainldm request"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --shard {wildcards.shard:q}"
        " --out {output.rows:q} 2>&1 | tee {log:q}"
