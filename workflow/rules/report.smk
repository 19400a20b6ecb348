"""The scans' quality control, the evaluation and the training curves in; a private HTML page and a public one out."""


rule report:
    input:
        section="results/configure/report.json",
        qc=expand("results/preprocess/{batch}/qc.tsv", batch=BATCHES),
        evaluation="results/evaluate/report.json",
        agreement="results/evaluate/agreement.tsv",
        images="results/evaluate/images.npz",
        shown="results/evaluate/shown.json",
        curves=expand(
            "results/train_{network}/log.csv",
            network=["segmenter", "autoencoder", "diffusion", "age"],
        ),
    output:
        page="results/report.html",
        public="results/report-public.html",
        text="results/report.txt",
    log:
        "logs/report/report.log",
    benchmark:
        "results/benchmarks/report/report.tsv"
    conda:
        "../../envs/brainldm.yaml"
    threads: 1
    params:
        tables=lambda wildcards, input: repeated("--qc", input.qc)
        + " "
        + repeated("--log", input.curves),
    shell:
        "OMP_NUM_THREADS={threads} brainldm report"
        " --section {input.section:q}"
        " --evaluate {input.evaluation:q}"
        " {params.tables}"
        " --public {output.public:q}"
        " --out {output.page:q} 2>&1 | tee {log:q}"
