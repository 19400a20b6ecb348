"""One batch of preprocessed scans in; their label maps and volumes out."""


rule segment:
    input:
        section="results/configure/segment.json",
        qc="results/preprocess/{batch}/qc.tsv",
        segmenter=SEGMENTER,
    output:
        volumes="results/segment/{batch}/volumes.tsv",
    log:
        "logs/segment/{batch}.log",
    benchmark:
        "results/benchmarks/segment/{batch}.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
    shell:
        "OMP_NUM_THREADS={threads} brainldm segment"
        " --section {input.section:q}"
        " --qc {input.qc:q}"
        " --segmenter {input.segmenter:q}"
        " --device {resources.device:q}"
        " --out {output.volumes:q} 2>&1 | tee {log:q}"
