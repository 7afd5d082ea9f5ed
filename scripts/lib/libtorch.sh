# libtorch: the user's own, or one assembled from pinned wheels. Sourced by scripts/setup.
# shellcheck shell=bash

# Raised when the assembled layout changes, so that older caches are rebuilt.
readonly layout=1
readonly torch_link=$root/.libtorch

# setup_libtorch FLAVOUR: leaves `.libtorch` in the clone pointing at a usable
# libtorch. Without a flavour, what is linked already is kept if it is usable.
setup_libtorch() {
    local flavour=$1
    pinned_version cpu torch
    if [[ -z $flavour && -n ${LIBTORCH:-} ]]; then
        use_own_libtorch "$pinned"
        return
    fi
    if [[ -z $flavour ]]; then
        linked_libtorch_is_usable "$pinned" && return
        flavour=cpu
    fi
    provide_libtorch "$flavour" "$pinned"
}

# use_own_libtorch VERSION: links $LIBTORCH after looking it over.
use_own_libtorch() {
    local found problem
    [[ -d $LIBTORCH ]] || die "LIBTORCH is $LIBTORCH, which is not a folder"
    found=$(cd -- "$LIBTORCH" && pwd -P)
    problem=$(libtorch_problem "$found" "$1")
    [[ -z $problem ]] || die "LIBTORCH is $LIBTORCH, but $problem.
       Point it at a libtorch $1, or unset it to have one set up"
    link_libtorch "$found"
}

# linked_libtorch_is_usable VERSION: whether `.libtorch` can be built with as it is.
linked_libtorch_is_usable() {
    [[ -d $torch_link/lib ]] || return 1
    local stamp
    for stamp in "$torch_link/.stamp" "$torch_link/../.stamp"; do
        [[ -f $stamp ]] || continue
        stamp_of cpu
        [[ $(<"$stamp") == "$wanted" ]] && return 0
        stamp_of cuda
        [[ $(<"$stamp") == "$wanted" ]]
        return
    done
    [[ -z $(libtorch_problem "$torch_link" "$1") ]]
}

# libtorch_problem FOLDER VERSION: prints what is wrong with it, or nothing.
libtorch_problem() {
    local folder=$1 version=$2 part found=''
    for part in include/ATen/ATen.h lib; do
        [[ -e $folder/$part ]] || { printf '%s' "it has no $part"; return; }
    done
    if ! compgen -G "$folder/lib/libtorch_cpu.*" >/dev/null; then
        printf '%s' 'its lib/ has no libtorch_cpu'
        return
    fi
    if [[ -f $folder/build-version ]]; then
        found=$(<"$folder/build-version")
    elif [[ -f $folder/version.py ]]; then
        found=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$folder/version.py")
    fi
    found=${found%%+*}
    [[ -z $found || $found == "$version" ]] || printf '%s' "it is version $found, not $version"
}

# provide_libtorch FLAVOUR VERSION: assembles it in the cache unless it is there, and links it.
provide_libtorch() {
    local flavour=$1 folder=$cache/libtorch-$2-$1
    stamp_of "$flavour"
    if [[ ! -f $folder/.stamp || $(<"$folder/.stamp") != "$wanted" ]]; then
        check_platform "$2"
        check_download_tools
        lock_cache
        # Another set-up may have done it while this one waited.
        if [[ ! -f $folder/.stamp || $(<"$folder/.stamp") != "$wanted" ]]; then
            build_libtorch "$flavour" "$2" "$folder"
        fi
    fi
    [[ $flavour == cuda ]] && folder=$folder/torch
    link_libtorch "$folder"
}

# stamp_of FLAVOUR: puts into `wanted` what identifies the folder's contents.
stamp_of() {
    local set package version sha256
    wanted="layout $layout"
    while read -r set package version sha256; do
        [[ $set == "$1" ]] && wanted+=$'\n'"$package $version $sha256"
    done <"$pins"
    return 0
}

# build_libtorch FLAVOUR VERSION FOLDER: fetches the wheels, unpacks them beside
# the folder, and renames, so that the folder is never there in part.
build_libtorch() {
    local flavour=$1 version=$2 folder=$3 package pinned_as sha256 wheels=()
    check_space "${need_mib[$flavour]}"
    say "setting up libtorch $version ($flavour) in $folder, once for this user"
    rm -rf -- "$folder.new"
    mkdir -p -- "$folder.new"
    while read -r package pinned_as sha256 <&3; do
        fetch_wheel "$package" "$pinned_as" "$sha256"
        wheels+=("$wheel")
        "unpack_$flavour" "$package" "$wheel" "$folder.new"
    done 3< <(pins_of "$flavour")
    "finish_$flavour" "$version" "$folder.new"
    printf '%s\n' "$wanted" >"$folder.new/.stamp"
    sync -f "$folder.new"

    rm -rf -- "$folder.old"
    [[ ! -e $folder ]] || mv -- "$folder" "$folder.old"
    mv -- "$folder.new" "$folder"
    rm -rf -- "$folder.old" "${wheels[@]}"
}

# The CPU flavour: headers, the CPU libraries, and the two CUDA libraries that
# libtorch_cpu.so needs to load though nothing calls them.
unpack_cpu() {
    local package=$1 wheel=$2 folder=$3
    case $package in
        torch) unpack "$wheel" "$folder" torch/include/=include/ \
            torch/lib/libtorch_cpu.so=lib/libtorch_cpu.so torch/lib/libc10.so=lib/libc10.so \
            torch/lib/libgomp.so.1=lib/libgomp.so.1 ;;
        nvidia-cuda-runtime) unpack "$wheel" "$folder" nvidia/cu13/lib/libcudart.so.13=lib/libcudart.so.13 ;;
        nvidia-cuda-cupti) unpack "$wheel" "$folder" nvidia/cu13/lib/libcupti.so.13=lib/libcupti.so.13 ;;
        *) die "$package is pinned for the CPU flavour, but nothing says what to unpack from it" ;;
    esac
}

# The wheel's libtorch.so pulls in CUDA; a linker script in its place does not.
finish_cpu() {
    printf 'INPUT(libtorch_cpu.so libc10.so)\n' >"$2/lib/libtorch.so"
    printf '%s\n' "$1" >"$2/build-version"
}

# The CUDA flavour keeps the folders pip would make, because libtorch_cuda.so
# looks for the NVIDIA libraries in ../../nvidia.
unpack_cuda() {
    local package=$1 wheel=$2 folder=$3
    case $package in
        torch) unpack "$wheel" "$folder" torch/include/=torch/include/ torch/lib/=torch/lib/ ;;
        *) unpack "$wheel" "$folder" nvidia/=nvidia/ ;;
    esac
}

finish_cuda() {
    printf '%s\n' "$1" >"$2/torch/build-version"
}

# link_libtorch FOLDER: points `.libtorch` at the folder.
link_libtorch() {
    local before=''
    [[ ! -e $torch_link || -L $torch_link ]] || die "$torch_link is in the way: it is not a link; move it"
    [[ ! -L $torch_link ]] || before=$(readlink -- "$torch_link")
    [[ $before != "$1" ]] || return 0
    [[ $(readlink -f -- "$torch_link" || true) != "$1" ]] || return 0
    ln -sfn -- "$1" "$torch_link"
    say "linked .libtorch to $1"
    # Cargo sees the same path before and after: tell it that the libraries changed.
    [[ -z $before || ! -d $root/target ]] && return
    (cd -- "$root" && cargo clean --quiet --release -p torch-sys -p torch-ext-sys -p moreline-worker)
}
