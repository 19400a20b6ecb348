"""What each stage is told: its own section of the configuration, so that an edit re-runs only the stages that it touches."""


rule configure:
    output:
        section="results/configure/{stage}.json",
    log:
        "logs/configure/{stage}.log",
    conda:
        "../../envs/brainldm.yaml"
    params:
        text=lambda wildcards: settings.section_json(CONFIG, wildcards.stage),
    shell:
        "printf '%s' {params.text:q} > {output.section:q} 2> {log:q}"
