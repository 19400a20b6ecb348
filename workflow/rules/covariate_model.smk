"""The training covariates in; a smooth model of them out, which may be published."""


rule covariate_model:
    input:
        section="results/configure/covariate_model.json",
        covariates="results/covariates/covariates.tsv",
    output:
        model="results/covariate_model/model.json",
    log:
        "logs/covariate_model/covariate_model.log",
    benchmark:
        "results/benchmarks/covariate_model/covariate_model.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} brainldm covariate_model"
        " --section {input.section:q}"
        " --covariates {input.covariates:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
