"""One shard's requests, volumes and measurements in; its tar as it is published, its table and its hashes out."""


rule pack:
    input:
        section="results/configure/pack.json",
        rows="results/request/{shard}.parquet",
        tar="results/generate/{shard}.tar",
        shard="results/generate/{shard}.json",
        measured="results/measure/{shard}.parquet",
    output:
        tar="results/pack/{shard}.tar",
        table="results/pack/{shard}.parquet",
        manifest="results/pack/{shard}.json",
    log:
        "logs/pack/{shard}.log",
    benchmark:
        "results/benchmarks/pack/{shard}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} brainldm pack"
        " --section {input.section:q}"
        " --request {input.rows:q}"
        " --shard {input.shard:q}"
        " --measure {input.measured:q}"
        " --out {output.manifest:q} 2>&1 | tee {log:q}"
