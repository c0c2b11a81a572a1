# Runs in the emulated machine, by busybox's shell: see `camera` beside it.
# shellcheck shell=dash disable=SC2317

# shellcheck source=tests/machine/checks.sh
. ./checks.sh

uname -srm

want=69 check 'without a camera it says so' says '/dev/video0' ./symple camera --source /dev/video0 --check

insmod /modules/vivid.ko n_devs=1 node_types=0x1
check 'a camera is plugged in' test -c /dev/video0
check 'the program takes it' says 'encoder: ' ./symple camera --source /dev/video0 --size 640x360 --check
SYMPLE_TEST_DEVICE=/dev/video0 check 'it is captured, encoded and watched over sockets' \
  says 'test result: ok. 1 passed' ./device_call --nocapture a_device_is_watched
grep -E 'frames by|Format' /tmp/said
SYMPLE_TEST_DEVICE=/dev/video0 check 'it is reconfigured while it is watched, and the viewer sees the new size' \
  says 'test result: ok. 1 passed' ./device_call --nocapture a_device_is_reconfigured_while_it_is_watched
grep -E '^captured|Format' /tmp/said

check 'it is listed' says 'vivid' ./symple devices
./symple camera --source /dev/video0 --size 640x360 >/tmp/camera 2>&1 &
camera=$!
check 'it is there for a peer' says '^\+ camera\|' timeout 20 ./symple watch --count 2
kill $camera
wait $camera
check 'told to end, it ends well' test $? = 0
# Last: what is plugged in again has another number.
check 'it is asked for its best, set, found busy, unplugged and back' \
  says 'test result: ok' ./v4l2_vivid --nocapture --test-threads=1
grep -E '^test |SKIPPED' /tmp/said

# As systemd does it for MemoryMax=, which the camera's unit sets to half of the memory; the smallest boards have 512 MB.
# No systemd runs here.
groups=/sys/fs/cgroup
mount -t cgroup2 cgroup2 $groups && echo +memory >$groups/cgroup.subtree_control && mkdir $groups/greedy $groups/symple
# The shell moves itself, and becomes the program.
for group in greedy symple; do
  echo 256M >$groups/$group/memory.max
  printf '#!/bin/sh\necho $$ >%s/cgroup.procs\nexec "$@"\n' $groups/$group >/tmp/as_$group
done
printf '#!/bin/sh\nexec /tmp/as_symple ./symple "$@"\n' >/tmp/limited_symple
chmod +x /tmp/as_greedy /tmp/as_symple /tmp/limited_symple
killed() { sed -n 's/^oom_kill //p' $groups/"$1"/memory.events; }
ends() { "$@"; [ $? = "$want" ]; }

want=137 check 'the memory limit kills what goes beyond it' ends /tmp/as_greedy tail -n 2 /dev/zero
check 'the kernel counts that' test "$(killed greedy)" = 1
SYMPLE_TEST_PROGRAM=/tmp/limited_symple check 'under it a camera serves viewers and strangers, and frees what they used' \
  says 'test result: ok. 1 passed' ./memory_is_given_back --nocapture frees
grep ' KiB ' /tmp/said
check 'within the limit' test "$(killed symple)" = 0
echo "at most $(($(cat $groups/symple/memory.peak) >> 10)) KiB of $(($(cat $groups/symple/memory.max) >> 10)), read files among them"

rmmod vivid
check 'the module can go' sh -c '! ls /dev/video*'

finish
