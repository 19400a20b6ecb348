"""One batch of scans: the manifest in; volumes on the grid, transforms and a QC table out."""


rule preprocess:
    input:
        section="results/configure/preprocess.json",
        manifest=MANIFEST,
    output:
        qc="results/preprocess/{batch}/qc.tsv",
    log:
        "logs/preprocess/{batch}.log",
    benchmark:
        "results/benchmarks/preprocess/{batch}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} brainldm preprocess"
        " --section {input.section:q}"
        " --manifest {input.manifest:q}"
        " --batch {wildcards.batch:q}"
        " --out {output.qc:q} 2>&1 | tee {log:q}"
