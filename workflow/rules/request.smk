"""The training covariates (and the user's own table, where the design asks for one) in; the covariates of one shard of volumes out."""


rule request:
    input:
        section="results/configure/request.json",
        covariates="results/covariates/covariates.tsv",
        table=CONFIG.request.table or [],
    output:
        rows="results/request/{shard}.parquet",
    log:
        "logs/request/{shard}.log",
    benchmark:
        "results/benchmarks/request/{shard}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    params:
        table=repeated("--table", filter(None, [CONFIG.request.table])),
    shell:
        "OMP_NUM_THREADS={threads} brainldm request"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " {params.table}"
        " --shard {wildcards.shard:q}"
        " --out {output.rows:q} 2>&1 | tee {log:q}"
