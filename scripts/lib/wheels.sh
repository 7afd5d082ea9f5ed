# Pinned wheels: look up, download, verify, unpack. Sourced by scripts/setup.
# shellcheck shell=bash

readonly pins=$root/scripts/pins.txt

# pins_of SET: prints "package version sha256" for each wheel of the set.
pins_of() {
    local set package version sha256
    while read -r set package version sha256; do
        [[ $set == "$1" ]] && printf '%s %s %s\n' "$package" "$version" "$sha256"
    done <"$pins"
    return 0
}

# pinned_version SET PACKAGE: puts the version into `pinned`.
pinned_version() {
    local set package version _
    while read -r set package version _; do
        [[ $set == "$1" && $package == "$2" ]] && pinned=$version && return 0
    done <"$pins"
    die "$pins has no line for $2 in the set $1"
}

# Takes the cache's lock, so that two set-ups never write at the same time. The
# kernel gives it back when this process ends, however it ends.
lock_cache() {
    mkdir -p -- "$cache/downloads" || die "cannot write to $cache: set MORELINE_CACHE to a folder that can be written"
    exec 9>"$cache/.lock"
    flock -n 9 && return 0
    say "waiting for another set-up that uses $cache"
    flock 9
}

# wheel_file PACKAGE VERSION: puts the downloaded wheel's path into `wheel`, or ''.
wheel_file() {
    local candidates
    shopt -s nullglob
    candidates=("$cache/downloads/${1//-/_}-$2"-*.whl)
    shopt -u nullglob
    wheel=${candidates[0]:-}
}

# verified FILE SHA256: whether the file has that digest.
verified() {
    [[ $(sha256sum -- "$1") == "$2 "* ]]
}

# fetch_wheel PACKAGE VERSION SHA256: downloads and verifies one wheel; its path
# is left in `wheel`. A verified wheel of an earlier, interrupted run is reused.
fetch_wheel() {
    local package=$1 version=$2 sha256=$3
    wheel_file "$package" "$version"
    if [[ -n $wheel ]]; then
        verified "$wheel" "$sha256" && return 0
        say "removing $wheel: it does not have the pinned SHA-256"
        rm -f -- "$wheel"
    fi

    say "downloading $package $version"
    download_wheel "$package" "$version" "$sha256" ||
        die "failed to download $package $version (pip says why above). Wheels already fetched are kept in
       $cache/downloads: run this again to go on. Behind a mirror or a proxy, set PIP_INDEX_URL or https_proxy"
    wheel_file "$package" "$version"
    [[ -n $wheel ]] || die "failed to find the wheel of $package $version in $cache/downloads after its download"
    verified "$wheel" "$sha256" && return 0
    rm -f -- "$wheel"
    die "the downloaded $package $version does not have the SHA-256 pinned in $pins; it was removed"
}

# Calls pip for one wheel of the pinned platform, whatever the host's Python is.
download_wheel() {
    local work=$cache/downloads/partial minor
    local options=(--no-deps --no-cache-dir --disable-pip-version-check --quiet
        --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311)
    for minor in {28..5}; do
        options+=(--platform "manylinux_2_${minor}_x86_64")
    done
    for minor in manylinux2014 manylinux2010 manylinux1 linux; do
        options+=(--platform "${minor}_x86_64")
    done
    # From pip 25.1 on a broken transfer is resumed; older ones start the file again.
    if python3 -m pip download --help | grep -q -- --resume-retries; then
        options+=(--resume-retries 10)
    fi

    rm -rf -- "$work"
    mkdir -p -- "$work"
    printf '%s==%s --hash=sha256:%s\n' "$1" "$2" "$3" >"$work/requirement.txt"
    TMPDIR=$work python3 -m pip download "${options[@]}" \
        --dest "$work/done" --require-hashes -r "$work/requirement.txt" >&2 || return 1
    mv -- "$work/done/"*.whl "$cache/downloads/"
    rm -rf -- "$work"
}

# unpack WHEEL FOLDER RULE...: see unpack.py.
unpack() {
    python3 "$root/scripts/lib/unpack.py" "$@" || die "failed to unpack $1 (is the disk full?)"
}
