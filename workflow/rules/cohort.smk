"""The embedded demo population: nothing in; raw T1w scans (BIDS), their manifest, true volumes and label maps out."""


rule cohort:
    input:
        section="results/configure/cohort.json",
    output:
        manifest="results/cohort/manifest.tsv",
        truth="results/cohort/truth.tsv",
        labels="results/cohort/labels.tsv",
    log:
        "logs/cohort/cohort.log",
    benchmark:
        "results/benchmarks/cohort/cohort.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    shell:
        "OMP_NUM_THREADS={threads} brainldm cohort"
        " --section {input.section:q}"
        " --threads {threads}"
        " --out {output.manifest:q}"
        " --truth {output.truth:q}"
        " --labels {output.labels:q} 2>&1 | tee {log:q}"
