"""Shards, tables and the evaluation in; the dataset as it is published out."""


rule release:
    input:
        section="results/configure/release.json",
        rows=expand("results/request/{shard}.parquet", shard=SHARDS),
        shards=expand("results/generate/{shard}.json", shard=SHARDS),
        measured=expand("results/measure/{shard}.parquet", shard=SHARDS),
        report="results/evaluate/report.json",
    output:
        checksums="results/release/checksums.sha256",
    log:
        "logs/release/release.log",
    benchmark:
        "results/benchmarks/release/release.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    params:
        shards=lambda wildcards, input: repeated("--request", input.rows)
        + " "
        + repeated("--shard", input.shards)
        + " "
        + repeated("--measure", input.measured),
    shell:
        "OMP_NUM_THREADS={threads} brainldm release"
        " --section {input.section:q}"
        " {params.shards}"
        " --report {input.report:q}"
        " --out {output.checksums:q} 2>&1 | tee {log:q}"
