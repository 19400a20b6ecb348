"""QC tables of all batches in, the table of covariates out."""


rule segment:
    input:
        section="results/configure/segment.json",
        qc=expand("results/preprocess/{batch}/qc.tsv", batch=BATCHES),
        model="results/train_segmenter/model.safetensors",
    output:
        covariates="results/segment/covariates.tsv",
    log:
        "logs/segment/segment.log",
    benchmark:
        "results/benchmarks/segment/segment.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    params:
        qc=lambda wildcards, input: repeated("--qc", input.qc),
    shell:
        "OMP_NUM_THREADS={threads} brainldm segment"
        " --section {input.section:q}"
        " {params.qc}"
        " --model {input.model:q}"
        " --device {resources.device:q}"
        " --out {output.covariates:q} 2>&1 | tee {log:q}"
