"""Volumes of all rows of the paper's Table 1 in; the table out. Optional: `snakemake paper_table` makes it and what it lacks."""


rule paper_table:
    input:
        section="results/configure/paper_table.json",
        evaluate="results/configure/evaluate.json",
        covariates="results/covariates/covariates.tsv",
        rows=expand("results/request/{shard}.parquet", shard=TABLE_SHARDS),
        shards=expand(
            "results/{row}/{shard}.json",
            row=[
                "train_baseline/lsgan",
                "train_baseline/vaegan",
                "generate/ddpm",
                "generate/ddim",
            ],
            shard=TABLE_SHARDS,
        ),
        age="results/train_age/model.safetensors",
        baselines=expand(
            "results/train_baseline/{row}/model.safetensors",
            row=["lsgan", "vaegan"],
        ),
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
    output:
        table="results/paper_table/table.json",
        text="results/paper_table/table.md",
        figure="results/paper_table/figure.png",
    log:
        "logs/paper_table/paper_table.log",
    benchmark:
        "results/benchmarks/paper_table/paper_table.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    params:
        tables=lambda wildcards, input: repeated("--request", input.rows)
        + " "
        + repeated("--shard", input.shards)
        + " "
        + repeated("--baseline", input.baselines),
    shell:
        "OMP_NUM_THREADS={threads} brainldm paper_table"
        " --section {input.section:q}"
        " --evaluate {input.evaluate:q}"
        " --covariates {input.covariates:q}"
        " {params.tables}"
        " --age {input.age:q}"
        " --autoencoder {input.autoencoder:q}"
        " --diffusion {input.diffusion:q}"
        " --device {resources.device:q}"
        " --out {output.table:q} 2>&1 | tee {log:q}"
