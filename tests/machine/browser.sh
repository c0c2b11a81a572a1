# Runs in the emulated machine, by busybox's shell: a camera for a browser outside, and who pulls its plug when told.
# shellcheck shell=dash
# `camera.toml` is beside it in /share, where each later file is a wish, by its name: see browser.test.mjs.

insmod /modules/vivid.ko n_devs=1 node_types=0x1
./symple camera --config camera.toml &
camera=$!
until [ -e end ]; do
  for wish in unbind bind; do
    if [ -e $wish ]; then
      # Gone first: the wish is granted when the next line is read.
      rm $wish
      echo vivid.0 >/sys/bus/platform/drivers/vivid/$wish && echo "vivid: $wish"
    fi
  done
  kill -0 $camera 2>/dev/null || exit 1
  sleep 0.2
done
kill $camera
wait $camera
