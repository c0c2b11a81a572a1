# Sourced by scripts in the emulated machine, run by busybox's shell: what is checked, and how it ended.
# shellcheck shell=dash

passed=0 failed=0
check() {
  what=$1
  shift
  if "$@" >/tmp/said 2>&1; then
    echo "ok: $what"
    passed=$((passed + 1))
  else
    echo "FAILED: $what (status $?)"
    sed 's/^/  /' /tmp/said
    failed=$((failed + 1))
  fi
}
says() {
  pattern=$1
  shift
  "$@" >/tmp/words 2>&1
  code=$?
  cat /tmp/words
  grep -qE "$pattern" /tmp/words && [ "$code" = "${want:-0}" ]
}

# Prints the result, and exits with the number of what failed.
finish() {
  result=ok
  [ $failed = 0 ] || result=FAILED
  echo "test result: $result. $passed passed; $failed failed; 0 ignored"
  exit $failed
}
