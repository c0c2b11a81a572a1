# Runs in the emulated machine, by busybox's shell: see `output` beside it.
# shellcheck shell=dash disable=SC2317

# shellcheck source=tests/machine/checks.sh
. ./checks.sh

uname -srm

# An HDMI output and an HDMI input.
insmod /modules/vivid.ko n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1 output_types=1
check 'an output is plugged in' test -c /dev/video1
check 'it is listed' says '/dev/video1  vivid \(output\)' ./symple devices
export SYMPLE_TEST_OUTPUT=/dev/video1 SYMPLE_TEST_INPUT=/dev/video0 SYMPLE_TEST_PROGRAM=./symple
one() {
  says 'test result: ok. 1 passed' ./v4l2_output --nocapture --exact "$1" && ! grep SKIPPED /tmp/words
}
check 'pictures arrive in order, and nothing else' one pictures_arrive_once_each_in_order_and_nothing_else
check 'in use, it is reported, and played to once it is free' \
  one an_output_in_use_is_reported_and_played_to_once_it_is_free
grep 'Failed' /tmp/said
check 'a camera and a missing node are reported' one what_is_no_output_has_its_reason
grep 'Failed' /tmp/said
check 'the program plays a call there' one program::a_call_is_played_by_the_program
grep '^\[' /tmp/said
# Last: what is plugged in again has other numbers.
check 'unplugged, it is reported' one when_unplugged_it_is_reported
grep 'Failed' /tmp/said
finish
