#!/bin/sh
# What Snakemake asks about a SLURM job: prints running, success or failed. A controller that does not answer means running: wait, never guess.
job=${1%%;*} # a federation appends its cluster's name
ask() {
  timeout 60 scontrol --oneliner show job "$job" 2>&1 |
    sed -n -e 's/.*Reason=\(launch_failed_requeued_held\|JobHoldMaxRequeue\).*/STRANDED/p' \
      -e 's/.*JobState=\([A-Z_]*\).*/\1/p' -e '/Invalid job id/s/.*/FORGOTTEN/p'
}
state=$(ask)
[ "$state" = PREEMPTED ] && sleep 2 && state=$(ask) # one that is requeued is PENDING by now
if [ "$state" = FORGOTTEN ]; then
  state=$(timeout 60 sacct --noheader --allocations --parsable2 --jobs="$job" --format=State 2>/dev/null | sed 's/ .*//;1q')
  state=${state:-UNKNOWN}
fi
[ "$state" = STRANDED ] && scancel "$job" # held by SLURM itself after a node's fault; it would wait for ever
case $state in
  COMPLETED) echo success ;;
  "" | PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED | REQUEUED | REQUEUE_* | RESIZING | RESV_DEL_HOLD | SIGNALING | SPECIAL_EXIT | STAGE_OUT | STOPPED) echo running ;;
  *) echo failed ;;
esac
