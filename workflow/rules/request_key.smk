"""The secret key of the requests, made once; the embedded population has a fixed one."""

if REQUEST_KEY != DEMO:

    rule request_key:
        output:
            key=update(REQUEST_KEY),  # kept: another key would make other requests
        log:
            "logs/request_key/request_key.log",
        localrule: True
        conda:
            "../../envs/brainldm.yaml"
        shell:
            "OMP_NUM_THREADS=1 brainldm request_key --out {output.key:q} 2>&1 | tee {log:q}"
