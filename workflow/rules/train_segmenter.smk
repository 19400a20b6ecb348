"""Label maps in; the segmenter and its Dice on maps held out out."""


rule train_segmenter:
    input:
        section="results/configure/train_segmenter.json",
        labels=LABEL_MAPS,
    output:
        model="results/train_segmenter/model.safetensors",
        curve="results/train_segmenter/log.csv",
        dice="results/train_segmenter/dice.tsv",
    log:
        "logs/train_segmenter/train_segmenter.log",
    benchmark:
        "results/benchmarks/train_segmenter/train_segmenter.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 2
    resources:
        device=CONFIG.device,
        launch="",  # torchrun and its options, where a training has several GPUs
    shell:
        "OMP_NUM_THREADS={threads} {resources.launch} brainldm train_segmenter"
        " --section {input.section:q}"
        " --labels {input.labels:q}"
        " --device {resources.device:q}"
        " --out {output.model:q} 2>&1 | tee {log:q}"
