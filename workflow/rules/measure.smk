"""One shard of volumes in; their measured volumes, predicted ages and quality out."""


rule measure:
    input:
        section="results/configure/measure.json",
        shard="results/generate/{shard}.json",
        segmenter=SEGMENTER,
        age="results/train_age/model.safetensors",
    output:
        table="results/measure/{shard}.parquet",
    log:
        "logs/measure/{shard}.log",
    benchmark:
        "results/benchmarks/measure/{shard}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    resources:
        device=CONFIG.device,
    shell:
        "OMP_NUM_THREADS={threads} brainldm measure"
        " --section {input.section:q}"
        " --shard {input.shard:q}"
        " --segmenter {input.segmenter:q}"
        " --age {input.age:q}"
        " --device {resources.device:q}"
        " --out {output.table:q} 2>&1 | tee {log:q}"
