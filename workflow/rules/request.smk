"""The model of the training covariates and the secret key (for some designs a table too) in; the covariates of one shard of volumes out."""


rule request:
    input:
        section="results/configure/request.json",
        model="results/covariate_model/model.json",
        key=[] if REQUEST_KEY == DEMO else [REQUEST_KEY],
        covariates=(
            ["results/covariates/covariates.tsv"]
            if CONFIG.request.design == "empirical"
            else []
        ),
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
        key=REQUEST_KEY,
        covariates=lambda wildcards, input: repeated("--covariates", input.covariates),
        table=repeated("--table", filter(None, [CONFIG.request.table])),
    shell:
        "OMP_NUM_THREADS={threads} brainldm request"
        " --section {input.section:q}"
        " --model {input.model:q}"
        " --key {params.key:q}"
        " {params.covariates}"
        " {params.table}"
        " --shard {wildcards.shard:q}"
        " --out {output.rows:q} 2>&1 | tee {log:q}"
