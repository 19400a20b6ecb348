"""A real SLURM on this machine, for a test: munged, slurmctld and slurmd in a folder of their own, on the loopback interface."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "srun")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CONF = """\
ClusterName=brainldm
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
Prolog={folder}/prolog
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Containers have neither cgroups nor a right to bind tasks.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
# Without a database: the controller itself remembers jobs that have ended.
AccountingStorageType=accounting_storage/none
MinJobAge=86400
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
KillWait=5
SlurmdTimeout=15
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# A node larger than the machine, so that the profiles' requests fit and jobs run side by side.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=400000 Gres=gpu:fake:2
PartitionName=cpu Nodes={host} Default=YES PriorityTier=2 PreemptMode=OFF
PartitionName=gpu Nodes={host} PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes={host} PriorityTier=3 PreemptMode=OFF
"""


def missing() -> str | None:
    """Why there can be no cluster here; nothing if there can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SEARCHED)]
    if absent:
        return f"SLURM is not installed (no {', '.join(absent)}); Debian: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "slurmd starts jobs for other users only as root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A running cluster; the environment in which its commands find it. Cancels what is left and stops the daemons by their pid files."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    (folder / "slurm.conf").write_text(CONF.format(host=_host(), user=getpass.getuser(), folder=folder, **ports))
    (folder / "prolog").write_text(f"#!/bin/sh\n[ ! -e '{folder}/broken' ]\n")  # a node is broken while there is such a file
    (folder / "prolog").chmod(0o755)
    (folder / "gres.conf").write_text("".join(f"Name=gpu Type=fake File=/dev/{name}\n" for name in ("null", "zero")))  # they stand for GPUs
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{_add_srun(folder)}:{SEARCHED}"}
    try:
        _start_munge(folder)
        start(folder, environment, "slurmctld")
        start(folder, environment, "slurmd")
        _wait_for_node(environment, folder)
        yield environment
    finally:
        subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=environment, capture_output=True, timeout=60)
        for name in ("slurmd", "slurmctld", "munged"):
            stop(folder, name)


def start(folder: Path, environment: dict[str, str], daemon: str) -> None:
    """Start slurmctld or slurmd; it puts itself into the background and its number into a file."""
    conf = ["-f", str(folder / "slurm.conf")]
    name = ["-N", _host()] if daemon == "slurmd" else []
    subprocess.run([daemon, *conf, *name], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def drained(environment: dict[str, str]) -> bool:
    """Whether SLURM has put the node aside."""
    found = subprocess.run(["sinfo", "-h", "-p", "cpu", "-o", "%T"], env=environment, capture_output=True, text=True, timeout=60)
    return "drain" in found.stdout


def resume(environment: dict[str, str]) -> None:
    """Take the node back, as an administrator does who has mended it."""
    subprocess.run(["scontrol", "update", f"NodeName={_host()}", "State=RESUME"], env=environment, check=True, timeout=60)


def stop(folder: Path, daemon: str, how: int = signal.SIGTERM) -> None:
    """Stop a daemon by its pid file, and wait until it is gone."""
    path = folder / f"{daemon}.pid"
    if not path.exists():
        return
    number = int(path.read_text())
    with suppress(ProcessLookupError):
        os.kill(number, how)
        for _ in range(300):
            os.kill(number, 0)
            time.sleep(0.1)
    path.unlink(missing_ok=True)


def _add_srun(folder: Path) -> Path:
    """A folder with an srun that finds this cluster: Snakemake's plugin takes SLURM_* out of its jobs' environment."""
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec "{shutil.which("srun", path=SEARCHED)}" "$@"\n')
    srun.chmod(0o755)
    return srun.parent


def _start_munge(folder: Path) -> None:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid", "log-file": folder / "munged.log"}
    options = [f"--{name}={path}" for name, path in {**files, "seed-file": folder / "munged.seed"}.items()]
    subprocess.run(["munged", "--force", *options], env={**os.environ, "PATH": SEARCHED}, check=True, timeout=60, capture_output=True)


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    for _ in range(300):
        if "idle" in subprocess.run(["sinfo", "-h", "-p", "cpu", "-o", "%T"], env=environment, capture_output=True, text=True).stdout:
            return
        time.sleep(0.1)
    raise RuntimeError("slurmd did not come up:\n" + (folder / "slurmd.log").read_text()[-2000:])


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
