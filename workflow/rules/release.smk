"""Packed shards, the evaluation and its public page in; the dataset as it is published out, and a sample of it where one is wanted."""


rule release:
    input:
        section="results/configure/release.json",
        packs=expand("results/pack/{shard}.json", shard=SHARDS),
        report="results/evaluate/report.json",
        protocol="results/evaluate/protocol.yaml",
        page="results/report-public.html",
        covariates="results/covariates/covariates.tsv",
        covariate_model="results/covariate_model/model.json",
        key=[] if REQUEST_KEY == DEMO else [REQUEST_KEY],
        manifest=[CONFIG.source.manifest] if CONFIG.source.kind == "manifest" else [],
        latents=(
            expand("results/generate/{shard}.safetensors", shard=SHARDS)
            if CONFIG.release.packaging == "latents"
            else []
        ),
        autoencoder=(
            ["results/train_autoencoder/model.safetensors"]
            if CONFIG.release.packaging == "latents"
            else []
        ),
    output:
        checksums="results/release/checksums.sha256",
        sample=(
            ["results/release-sample/checksums.sha256"]
            if CONFIG.release.sample
            else []
        ),
    log:
        "logs/release/release.log",
    benchmark:
        "results/benchmarks/release/release.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    params:
        packs=lambda wildcards, input: repeated("--pack", input.packs),
        latents=lambda wildcards, input: repeated("--latents", input.latents)
        + " "
        + repeated("--autoencoder", input.autoencoder),
        secrets=lambda wildcards, input: repeated("--key", input.key)
        + " "
        + repeated("--manifest", input.manifest),
        sample=lambda wildcards, output: repeated("--sample", output.sample),
    shell:
        "OMP_NUM_THREADS={threads} brainldm release"
        " --section {input.section:q}"
        " {params.packs}"
        " --report {input.report:q}"
        " --covariates {input.covariates:q}"
        " --covariate-model {input.covariate_model:q}"
        " {params.secrets}"
        " --page {input.page:q}"
        " {params.latents}"
        " {params.sample}"
        " --out {output.checksums:q} 2>&1 | tee {log:q}"
