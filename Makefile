# `make run` starts the camera, `make test` runs the tests. Both first install what a fresh Debian 12
# lacks (.ci/setup lists it), and nothing the second time; SETUP=no skips that.

SHELL := bash
# An empty value counts as absent: the camera has its own defaults.
export SOURCE LISTEN TOKEN ORIGINS PROFILE
export PORT ?= 4500

# A cargo that is new enough; it need not be the first on the PATH.
cargo = PATH="$$(.ci/setup cargo):$$PATH" cargo
setup = $(if $(filter no,$(SETUP)),@:,@.ci/setup)
# Newer versions of Node.js need a flag to run one file at a time; a camera and a browser need both cores.
one_by_one = $$(node --test-concurrency=1 -e 0 2>/dev/null && echo --test-concurrency=1)

# Cargo packs no crate into another, so a package lacks these folders of the repository.
needs-test-board := tests/firmware
needs-size := tests/small
needs-fuzz := fuzz
needs-test-desktop := examples/desktop
absent = $(strip $(foreach target,test-board size fuzz test-desktop,$(if $(wildcard $(needs-$(target))/),,$(target))))

.PHONY: help run test test-all test-cores test-library test-browser test-board test-packages test-machine test-desktop test-hostile test-heal test-interop board \
  fuzz bench size setup-run setup-test setup-board setup-emulate setup-packages setup-machine setup-desktop setup-heal setup-interop setup-size setup-fuzz \
  in-repository-test-board in-repository-size in-repository-fuzz in-repository-test-desktop

help:
	@echo 'make run       start a camera at http://127.0.0.1:$(PORT)/; open it in a browser'
	@echo '  SOURCE=      test (a moving pattern, the default), /dev/video0, csi, a file, rtsp://…'
	@echo '  PORT=        the port for HTTP and WebSocket, 4500 by default'
	@echo '  LISTEN=      the address to listen on, or all; loopback by default'
	@echo '  TOKEN=       the token that viewers need; set one if you set LISTEN='
	@echo '  ORIGINS=     other web origins whose pages may connect, separated by commas'
	@echo 'make test      run every test that fits into half an hour'
	@echo 'make test-all  run those and the long ones'
	@echo 'make board BOARD=generic-arm64   build the program and a .deb for a board; see boards/README.md'
	@echo 'make test-board  run tests cross-built for 64-bit ARM in an emulator'
	@echo 'make test-desktop  click in the desktop example on a virtual display, and look at its pixels'
	@echo 'make test-hostile  attack a camera while viewers watch it, and a receiver as its sender, and measure'
	@echo 'make test-heal   break networks, servers and sources while a browser watches, and measure until it sees the picture again'
	@echo 'make fuzz      fuzz each target for a minute; see fuzz/run'
	@echo 'make test-interop  test with other WebRTC stacks as viewers, and some as senders: aiortc, werift, libdatachannel, libwebrtc, webrtcbin, Janus, browsers'
	@echo 'make bench     compare the cost of the server with a bare relay, and that of a viewer with a bare sender; time from a click to the picture; at most fifteen minutes'
	@echo 'make size      check size and memory of firmware against limits'
	@$(if $(absent),echo 'This is the package: $(absent) and test-all need the repository.')

run: setup-run
	@$(cargo) run --release --locked --example camera --features camera-gst,tls,web

test: test-cores test-library test-browser

in-repository-test-board in-repository-size in-repository-fuzz in-repository-test-desktop: in-repository-%:
	@[ -d "$(needs-$*)" ] || { echo 'make $*: needs the repository; $(needs-$*) is not part of the package' >&2; exit 1; }

test-all: in-repository-test-board in-repository-size in-repository-fuzz in-repository-test-desktop test test-board test-packages test-machine test-desktop test-hostile test-heal test-interop fuzz size
	@$(cargo) test --locked --all-features -- --ignored
	@CALL_MINUTES=10 node --test tests/browser/long.test.mjs

# The cores alone: serde, and nothing that does I/O.
test-cores: setup-test
	@$(cargo) test --locked --no-default-features

test-library: setup-test
	@$(cargo) test --locked --all-features

# In real browsers, against the examples, built as for the test above.
test-browser: setup-test
	@$(cargo) build --locked --all-features --bins --examples
	@node --test $(one_by_one) tests/browser/*.test.mjs

board: setup-board
	@boards/build "$(BOARD)"

# Cross-built tests, as many as CI has time for; the packages of one board of each kind; a camera, an output and an
# encoder in an emulated machine, and a browser that watches the camera.
test-board: in-repository-test-board setup-emulate
	@boards/test

test-packages: setup-packages
	@tests/boards/packages

test-machine: setup-machine
	@tests/machine/camera
	@tests/machine/output
	@tests/machine/vicodec
	@node --test $(one_by_one) tests/machine/*.test.mjs

# The desktop example, a package of its own, in a window of a virtual display.
test-desktop: in-repository-test-desktop setup-desktop
	@$(cargo) build --locked --all-features --bin symple
	@SYMPLE=$$(realpath $${CARGO_TARGET_DIR:-target})/debug/symple \
	  $(cargo) test --locked --manifest-path examples/desktop/Cargo.toml -- --nocapture

# Attacks on a camera, and by senders on whoever receives, each kind for longer than in `make test`, with figures.
test-hostile: setup-test
	@HOSTILE_SECONDS=15 $(cargo) test --locked --all-features --test hostile -- --nocapture
	@HOSTILE_SECONDS=15 $(cargo) test --locked --all-features --lib recv::tests::hostile -- --nocapture

# Faults, each made real, and the time until a browser shows the picture again; a table at the end.
test-heal: setup-heal
	@$(cargo) build --locked --all-features --bins
	@node --test $(one_by_one) tests/heal/*.test.mjs

# The parsers of untrusted input, under libFuzzer.
fuzz: in-repository-fuzz setup-fuzz
	@PATH="$$(.ci/setup cargo):$$PATH" fuzz/run

# Other WebRTC stacks as viewers and as senders, against the program and examples, built as for the test above.
test-interop: setup-interop
	@$(cargo) build --locked --all-features --bins --examples
	@tests/interop/run

bench: setup-run setup-test
	@$(cargo) bench --quiet --locked --features program,camera --bench server --bench viewers
	@$(cargo) build --release --quiet --locked --example camera --features camera-gst,tls,web
	@CAMERA=$${CARGO_TARGET_DIR:-target}/release/examples/camera node tests/browser/joins.mjs

# Also with Debian's compiler for ARM, if boards/env finds the cross compilers.
size: in-repository-size setup-size
	@boards/size native aarch64

setup-run:
	$(setup) run

setup-test:
	$(setup) test

setup-board:
	$(setup) $(if $(filter armv7,$(BOARD)),emulate,board)

setup-emulate:
	$(setup) emulate

setup-packages:
	$(setup) packages

setup-machine:
	$(setup) machine

setup-desktop:
	$(setup) desktop

setup-heal:
	$(setup) heal

setup-interop:
	$(setup) interop

setup-size:
	$(setup) size

setup-fuzz:
	$(setup) fuzz
