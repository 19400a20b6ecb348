"""Everything that can be compared in; one report in numbers out."""


rule evaluate:
    input:
        section="results/configure/evaluate.json",
        measuring="results/configure/measure.json",
        preprocess="results/configure/preprocess.json",
        covariates="results/covariates/covariates.tsv",
        latents="results/encode/latents.json",
        rows=expand("results/request/{shard}.parquet", shard=SHARDS),
        shards=expand("results/generate/{shard}.json", shard=SHARDS),
        measured=expand("results/measure/{shard}.parquet", shard=SHARDS),
        segmenter=SEGMENTER,
        age="results/train_age/model.safetensors",
        autoencoder="results/train_autoencoder/model.safetensors",
        diffusion="results/train_diffusion/model.safetensors",
        others=[
            path
            for path in (CONFIG.evaluate.features, CONFIG.evaluate.reference)
            if path not in ("age", None)
        ],
        truth=["results/cohort/truth.tsv"] if CONFIG.source.kind == "cohort" else [],
    output:
        report="results/evaluate/report.json",
        protocol="results/evaluate/protocol.yaml",
        agreement="results/evaluate/agreement.tsv",
        reference="results/evaluate/reference.npz",
        images="results/evaluate/images.npz",
        shown="results/evaluate/shown.json",
    log:
        "logs/evaluate/evaluate.log",
    benchmark:
        "results/benchmarks/evaluate/evaluate.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    params:
        shards=lambda wildcards, input: repeated("--request", input.rows)
        + " "
        + repeated("--shard", input.shards)
        + " "
        + repeated("--measure", input.measured),
        truth=lambda wildcards, input: repeated("--truth", input.truth),
    shell:
        "OMP_NUM_THREADS={threads} brainldm evaluate"
        " --section {input.section:q}"
        " --measuring {input.measuring:q}"
        " --preprocess {input.preprocess:q}"
        " --covariates {input.covariates:q}"
        " --latents {input.latents:q}"
        " {params.shards}"
        " --segmenter {input.segmenter:q}"
        " --age {input.age:q}"
        " --autoencoder {input.autoencoder:q}"
        " --diffusion {input.diffusion:q}"
        " {params.truth}"
        " --device {resources.device:q}"
        " --out {output.report:q} 2>&1 | tee {log:q}"
