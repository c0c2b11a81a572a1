# shellcheck shell=bash
# Shared by the scripts in this folder: messages, the table of targets, a private apt. To be sourced.
#
# Everything that is downloaded and built stays under target/board of the checkout; the machine's packages and the
# state of its own apt do not change.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$root/target/board

# On standard error: these scripts print a path, or text for eval, on standard output.
say() { echo "board: $*" >&2; }
fail() {
  say "$@"
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 not found: run .ci/setup board, or install $2"
}

# Whether version $1 is at least $2, comparing the numbers before any letters.
at_least() { [ "$(printf '%s\n%s\n' "$2" "${1%%[-+~]*}" | sort -V | head -n1)" = "$2" ]; }

# Sets the names that Debian, GNU and qemu use for a Rust target or its short name.
# shellcheck disable=SC2034
target() {
  case $1 in
    aarch64 | aarch64-unknown-linux-gnu)
      triple=aarch64-unknown-linux-gnu debian=arm64 gnu=aarch64-linux-gnu qemu=qemu-aarch64-static
      ;;
    armv7 | armv7-unknown-linux-gnueabihf)
      triple=armv7-unknown-linux-gnueabihf debian=armhf gnu=arm-linux-gnueabihf qemu=qemu-arm-static
      ;;
    *) fail "cannot cross-build for the target $1; supported: aarch64-unknown-linux-gnu and armv7-unknown-linux-gnueabihf" ;;
  esac
  sysroot=$here/sysroot/$debian
}

# The GStreamer plugins that tests use: scanning a plugin loads it, and 200 of them take long in an emulator.
# shellcheck disable=SC2034
plugins=(coreelements app videotestsrc audiotestsrc videoconvertscale audioconvert audioresample videoparsersbad
  x264 openh264 vpx opus typefindfunctions playback jpeg jpegformat video4linux2 rawparse deinterlace videofilter
  imagefreeze)

# The names of all boards that can be built for, in one line: those with a target in the table above.
boards() {
  local file names=()
  for file in "$root"/boards/*.toml; do
    if grep -qE '^target *= *"(aarch64|armv7)-' "$file"; then names+=("$(basename "$file" .toml)"); fi
  done
  echo "${names[*]}"
}

# The value of key $2 of board $1 above its first table: a string, or a list of strings joined with commas.
board_key() {
  sed -n "/^\\[/q; s/^$2 *= *//p" "$root/boards/$1.toml" | sed 's/[][" ]//g; s/#.*//; s/,$//'
}

# Opens a private apt in folder $1 for the given architectures, the native one first. It uses the machine's sources,
# keys and proxies, and considers no package installed. `private_apt get|cache …` runs it.
apt_open() {
  local dir=$1 native=$2 architectures
  shift
  architectures=$(printf '"%s"; ' "$@")
  need apt-get 'apt: these scripts take libraries from Debian'
  mkdir -p "$dir"/{lists/partial,archives/partial,log,parts,sources.list.d,preferences.d}
  : >"$dir/status"
  # If a source names an architecture, it is the machine's.
  local list
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    sed -E '/^Architectures:/d; s/arch=[^] ]*//; s/\[ *\]//' "$list" >"$dir/sources.list.d/$(basename "$list")"
  done
  # Only the machine's download settings: others may clean up in the machine's own folders.
  {
    apt-config dump | grep -E '^Acquire::' || true
    cat <<END
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
Dir::Log "$dir/log";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "$dir/parts";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/sources.list.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$dir/preferences.d";
APT::Architecture "$native";
APT::Architectures { $architectures};
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
END
  } >"$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
  private_apt get update >"$dir/log/update" 2>&1 || say "apt-get update reported: $(tail -n1 "$dir/log/update")"
}

private_apt() {
  local tool=$1
  shift
  "apt-$tool" -q "$@"
}

# The version that apt would install.
candidate() { private_apt cache policy "$1" | sed -n 's/^  Candidate: //p'; }

# Downloads packages and their dependencies into archives/ of the private apt.
fetch() {
  private_apt get install -y -d "$@" >"$(dirname "$APT_CONFIG")/log/fetch" 2>&1 || {
    tail -n 20 "$(dirname "$APT_CONFIG")/log/fetch" >&2
    fail "apt could not download $*; see its output above"
  }
}

# Unpacks all of archives/ into folder $1, completely or not at all, except the packages named after it.
unpack() {
  local into=$1 archives deb skip
  shift
  archives=$(dirname "$APT_CONFIG")/archives
  rm -rf "$into" "$into.part"
  mkdir -p "$into.part"
  for deb in "$archives"/*.deb; do
    for skip in "$@"; do
      case $(basename "$deb") in "$skip"_*) continue 2 ;; esac
    done
    dpkg-deb -x "$deb" "$into.part"
  done
  rm -f "$archives"/*.deb
  mv "$into.part" "$into"
}

# Deletes its package lists: they are large and no longer needed.
apt_close() { rm -rf "$(dirname "$APT_CONFIG")"; }
