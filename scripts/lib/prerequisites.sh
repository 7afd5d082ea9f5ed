# What the machine must already have. Sourced by scripts/setup.
# shellcheck shell=bash

# Free space (in MiB) that a first set-up and build need, by flavour.
declare -rA need_mib=([cpu]=3000 [cuda]=9000)

missing=()

# need COMMAND WHY HOW: notes a command that is not there.
need() {
    command -v "$1" >/dev/null 2>&1 || missing+=("$1 ($2): $3")
}

# Ends the set-up if anything was noted, naming all of it at once.
report_missing() {
    ((${#missing[@]})) || return 0
    say 'these are missing on this machine (commands are for Debian and Ubuntu):'
    printf '  - %s\n' "${missing[@]}" >&2
    die 'install them and run this again'
}

# The tools every build needs. Only looks them up, so that it costs nothing.
check_tools() {
    local apt='sudo apt-get install build-essential'
    need cargo 'the Rust build tool' 'install rustup as https://rustup.rs shows, then open a new shell'
    need make 'runs the targets' "$apt"
    need "${CC:-cc}" 'the C compiler' "$apt"
    need "${CXX:-c++}" 'the C++ compiler' "$apt"
    report_missing
}

# What only a download needs: asked for when there is something to fetch.
check_download_tools() {
    need flock 'keeps two set-ups apart' 'sudo apt-get install util-linux'
    need sha256sum 'verifies downloads' 'sudo apt-get install coreutils'
    need python3 'downloads and unpacks wheels, nothing else' 'sudo apt-get install python3 python3-pip'
    if command -v python3 >/dev/null 2>&1 && ! python3 -m pip --version >/dev/null 2>&1; then
        missing+=('pip for python3 (the downloader): sudo apt-get install python3-pip')
    fi
    report_missing
}

# Pinned wheels exist for x86-64 Linux; elsewhere one brings a libtorch along.
check_platform() {
    local version=$1 platform
    platform="$(uname -s) $(uname -m)"
    [[ $platform == 'Linux x86_64' ]] && return 0
    die "there is no pinned libtorch for $platform. Install PyTorch $version for it (its
       folder \`torch\`, or an unpacked libtorch archive, has lib/ and include/), then run
       LIBTORCH=/path/to/that/folder make setup"
}

# check_space MIB: the file system of the cache has this much room.
check_space() {
    local free_mib
    free_mib=$(df -Pm -- "$cache" | awk 'NR == 2 { print $4 }')
    ((free_mib >= $1)) && return 0
    die "$cache has $free_mib MiB free, but the set-up and the build need about $1 MiB.
       Make room, or set MORELINE_CACHE to a folder on another disk"
}
