# Messages of the set-up. Sourced, not run.
# shellcheck shell=bash

# A line about what is being done.
say() {
    printf 'setup: %s\n' "$*" >&2
}

# A line that says why the set-up cannot go on, and the way out; then the end.
die() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}
