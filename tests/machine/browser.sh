# Runs in the emulated machine, in busybox's shell: a camera for a browser outside, which is unplugged on request.
# shellcheck shell=dash
# `camera.toml` is in /share too; each further file there is a request, by its name: see browser.test.mjs.

insmod /modules/vivid.ko n_devs=1 node_types=0x1
./symple camera --config camera.toml &
camera=$!
until [ -e end ]; do
  for wish in unbind bind; do
    if [ -e $wish ]; then
      # Removed first: the request is done when the next line is read.
      rm $wish
      echo vivid.0 >/sys/bus/platform/drivers/vivid/$wish && echo "vivid: $wish"
    fi
  done
  kill -0 $camera 2>/dev/null || exit 1
  sleep 0.2
done
kill $camera
wait $camera
