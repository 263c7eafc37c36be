#!/usr/bin/env bash
# Everything that has to be checked on a machine with NVIDIA GPUs, in one go: the cards are seen and used, bf16 is near
# f32, a GPU is near the processor, the same job makes the same bits alone and beside others that do share the card,
# distances computed on a card are those of the kernel, and how fast each architecture of the profile `paper` trains and
# predicts on the first card.
#
#     benches/gpu-check.sh [--seconds N] [--cpu]
#
# --seconds: how long each architecture's training is timed (20). --cpu: the same on the processor, to try the script.
# Exit status: 0 all is well, 1 a check failed, 2 it could not be done, 3 there is no GPU.
set -euo pipefail
root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)

say() { printf 'gpu-check: %s\n' "$*" >&2; }
give_up() {
    say "$@"
    exit 2
}

seconds=20 on=cuda
while [ $# -gt 0 ]; do
    case $1 in
        --cpu) on=cpu ;;
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        *) give_up "unknown argument $1; it takes --seconds N and --cpu" ;;
    esac
    shift
done

# The cards' numbers, as CUDA counts them.
cards() {
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
        # Of parts of cards, CUDA shows one.
        tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" |
            awk '!/^ *([0-9]+ *$|GPU-|MIG-)/ || NR > 1 && /MIG-/ { exit } { print NR - 1 }'
    elif [ -e /dev/dxg ] && [ -e /usr/lib/wsl/lib/libcuda.so.1 ]; then
        echo 0
    else
        find /dev -maxdepth 1 -name 'nvidia[0-9]*' 2>/dev/null | awk '{ print NR - 1 }'
    fi
}

# What may be amiss where a card cannot be used at all.
diagnose() {
    nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader || true
    ls -l /dev/nvidia* || true
    readlink "$root/.deps/libtorch" || true
    ldd "$root/.deps/libtorch/lib/libtorch_cuda.so" | grep 'not found' || true
} >&2 2>&1

if [ $on = cuda ]; then
    mapfile -t devices < <(cards | sed 's/^/cuda:/')
    if [ ${#devices[@]} = 0 ]; then
        say "there is no NVIDIA GPU here (no /dev/nvidia0, or CUDA_VISIBLE_DEVICES shows none); --cpu tries the script"
        exit 3
    fi
    nvidia-smi -L >&2 || say "nvidia-smi is missing; going on"
    [ -e "$root/.deps/libtorch/lib/libtorch_cuda.so" ] || give_up "libtorch here is for CPUs; run make setup TORCH=cuda"
else
    devices=(cpu)
fi

ribbon=${RIBBON:-$root/target/release/ribbon}
[ -x "$ribbon" ] || (cd "$root" && cargo build --release) || give_up "ribbon is not built"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A project of the check's pipeline, with a store of its own.
project() {
    mkdir "$work/$1"
    sed "s|^workspace: .*|workspace: $root|" "$root/benches/gpu/pipeline.yaml" >"$work/$1/pipeline.yaml"
    cp -r "$root/stages/prepare/data/cifar10-mini" "$work/$1/cifar10-mini"
}

# `ribbon` in a project; what it says goes to a file of that name, and is shown if it fails.
run() {
    local name=$1
    shift
    (cd "$work/$name" && unset RIBBON_STORE RIBBON_SHARE && "$ribbon" "$@") >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; return 1; }
}

failed=0
# A line of the table: what was checked, what was seen, and whether that is well.
row() {
    local is=ok
    [ "$3" = 0 ] || { is=FAILED; failed=1; }
    printf '%-52s %-32s %s\n' "$1" "$2" $is
}

# Compares tensors of published files, and writes a line.
compare() {
    local what=$1 status=0 seen
    shift
    seen=$(python3 "$root/benches/gpu/compare.py" "$@") || status=1
    row "$what" "${seen:-nothing to compare} (at most $4)" $status
}

project gpu
project cpu
[ $on = cuda ] || export CUDA_VISIBLE_DEVICES=-1
say "small networks on ${devices[*]}, and on the processor"
run gpu run || { [ $on = cpu ] || diagnose; give_up "the networks could not be trained on ${devices[*]}"; }
alone=$(tail -n 1 "$work/said")
# Of each job by itself: of many, `show` tells of one.
used=$(sed -n 's/^done *\([^ ]*\) (.*/\1/p' "$work/said" | grep -E '^(train|predict|distance-cuda)(\[|$)' |
    while read -r job; do
        (cd "$work/gpu" && "$ribbon" show "$job") | sed -n '/^  ran /{ s/.* on \([a-z0-9:]*\) (.*/\1/p; q }'
    done | sort | uniq -c | awk '{ printf "%s%s x %s", s, $1, $2; s = ", " }')
CUDA_VISIBLE_DEVICES=-1 run cpu run || give_up "the networks could not be trained on the processor"

where=${devices[0]%:*}
gpu=$work/gpu/outputs/check cpu=$work/cpu/outputs/check
status=0
for device in "${devices[@]}"; do [[ "$used" == *"$device"* ]] || status=1; done
row "jobs ran on ${devices[*]}" "$used" $status

for arch in allcnn convmixer fc resnet-18 vit wr-10-1-8; do
    f32=predictions-$arch-f32.safetensors mixed=predictions-$arch-mixed.safetensors
    # Row 0 is the untrained network, from the same weights; row 1 is after a step.
    compare "$arch: $where and processor, untrained" "$gpu/$f32" "$cpu/$f32" train 1e-5 0
    compare "$arch: $where and processor, a step" "$gpu/$f32" "$cpu/$f32" train 1e-3 1
    # After a step the statistics that predictions are made with have hardly begun: 17 layers of a ResNet, without them,
    # make much of a small difference.
    [ $arch = resnet-18 ] || compare "$arch: bf16 and f32, a step" "$gpu/$mixed" "$gpu/$f32" train 0.05 1
    compare "$arch: bf16 and f32, train loss to the end" "$gpu/$mixed" "$gpu/$f32" train_loss 0.25
done
for measure in bhattacharyya kl euclidean; do
    compare "distances, $measure: stages/distance-cuda and the kernel" \
        "$gpu/distance-cuda-$measure.safetensors" "$gpu/distance-$measure.safetensors" distances 1e-5
done

# Runs all jobs again, so many a card: do they make the same bits, and how many ran at a time? That is the seconds of all jobs
# over those that passed: above the number of cards only if jobs shared one.
again() {
    local share=$1 cards=$2 status=0 begun=$EPOCHREALTIME passed at_a_time
    run gpu verify --set networks-per-gpu="$share" --rerun train predict distance-cuda || status=1
    passed=$(awk "BEGIN { print $EPOCHREALTIME - $begun }")
    row "equal bits again, $share a card" "${passed%.*} s; at first: $alone" $status
    at_a_time=$(sed -n 's/^done .*(\([0-9.]*\) s)$/\1/p' "$work/said" |
        awk -v passed="$passed" '{ sum += $1 } END { printf "%.2f", sum / passed }')
    status=0
    if [ $on = cuda ]; then
        awk "BEGIN { exit !(($at_a_time > $cards) == ($share > 1)) }" || status=1
    fi
    row "jobs at a time, $share a card" "$at_a_time in the mean" $status
}

say "the same jobs again, one a card"
again 1 ${#devices[@]}
say "and four on the first"
if [ $on = cuda ]; then
    first=${CUDA_VISIBLE_DEVICES:-0}
    export CUDA_VISIBLE_DEVICES=${first%%,*}
fi
again 4 1

if [ $on = cuda ]; then
    timed=(--device "${devices[0]}" --images 50000 --seconds "$seconds")
else
    timed=(--device cpu --images 100 --batch 20 --arch fc --seconds "$seconds")
fi
say "images a second of the profile paper, $seconds s an architecture"
status=0
(cd "$root" && cargo bench --quiet --bench throughput -- "${timed[@]}") >"$work/said" 2>"$work/errors" || status=1
[ $status = 0 ] || cat "$work/errors" >&2
row "throughput" "$(grep -c ' [0-9.]\+ \+[0-9.]\+$' "$work/said" || true) architectures" $status
cat "$work/said"
exit $failed
