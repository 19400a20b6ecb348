"""QC tables and volumes of all batches in, the table of covariates out."""


rule covariates:
    input:
        section="results/configure/covariates.json",
        qc=expand("results/preprocess/{batch}/qc.tsv", batch=BATCHES),
        volumes=(
            expand("results/segment/{batch}/volumes.tsv", batch=BATCHES)
            if CONFIG.covariates.volumes == "segmented"
            else []
        ),
    output:
        table="results/covariates/covariates.tsv",
    log:
        "logs/covariates/covariates.log",
    benchmark:
        "results/benchmarks/covariates/covariates.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    params:
        tables=lambda wildcards, input: repeated("--qc", input.qc)
        + " "
        + repeated("--segment", input.volumes),
    shell:
        "OMP_NUM_THREADS={threads} brainldm covariates"
        " --section {input.section:q}"
        " {params.tables}"
        " --out {output.table:q} 2>&1 | tee {log:q}"
