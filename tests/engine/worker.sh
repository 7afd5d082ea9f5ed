#!/bin/sh
# A worker without a model: its outputs are digests of its parameters and inputs.
# Files in $CONTROL, named ACTION.STAGE, make it misbehave.
CONTROL=@CONTROL@
JOB=$3
field() { sed -n "s/^  \"$1\": \"\(.*\)\",*\$/\1/p" "$JOB" | head -n 1; }
STAGE=$(field stage)
OUT=$(field output_dir)
PARTIAL=$(field partial_dir)
KIND=$(sed -n 's/^    "kind": "\(.*\)",*$/\1/p' "$JOB" | head -n 1)
emit() { printf '%s\n' "$1"; }

if [ -e "$CONTROL/orphan.$STAGE" ]; then
  # Outlives its engine, and writes late into what it was given.
  exec > /dev/null
  echo $$ > "$CONTROL/pid.$STAGE"
  while [ ! -e "$CONTROL/late" ]; do sleep 0.05; done
  echo late > "$OUT/responses.jsonl"; echo late > "$OUT/fed.jsonl"
  echo late > "$PARTIAL/checkpoint"
  echo yes > "$CONTROL/written"
  exit 0
fi
# Ends with its engine: the control pipe closes, and the group is killed.
exec 3<&0
( cat <&3 > /dev/null; kill -9 -$$ ) &

echo "$STAGE" >> "$CONTROL/trace"
emit '{"event":"started","protocol":1,"fingerprint":{"libtorch":"none","device":"cpu","instructions":"sh","threads":1,"fp32_matmul":"highest"}}'
emit '{"event":"progress","phase":"working","done":1,"total":2,"unit":"rows"}'
cp "$JOB" "$CONTROL/job.$STAGE"
if [ -e "$CONTROL/curve.$STAGE" ]; then
  emit '{"event":"scalars","step":1,"values":{"loss":0.75,"lr":0.001}}'
  emit '{"event":"scalars","step":2,"values":{"loss":0.5,"eval/loss":0.25}}'
fi
emit '{"event":"log","level":"info","message":"a line for the log"}'
echo "text on standard error" >&2
echo half > "$PARTIAL/checkpoint"
[ -e "$CONTROL/hang.$STAGE" ] && { echo $$ > "$CONTROL/pid.$STAGE"; sleep 60 & wait; }
[ -e "$CONTROL/slow.$STAGE" ] && sleep 1
[ -e "$CONTROL/fail.$STAGE" ] && { emit '{"event":"failed","message":"row 3 is bad","hint":"mend it"}'; exit 1; }
[ -e "$CONTROL/kill.$STAGE" ] && kill -9 $$
[ -e "$CONTROL/touch.$STAGE" ] && echo more >> "$(cat "$CONTROL/touch.$STAGE")"
[ -e "$CONTROL/silent.$STAGE" ] && exit 0

sum() {
  if [ -e "$CONTROL/const.$STAGE" ]; then echo constant; return; fi
  {
    sed -n '/"spec": {/,/^  },*$/p' "$JOB"
    sed -n 's/^      "path": "\(.*\)",*$/\1/p' "$JOB" | while read -r path; do
      if [ -d "$path" ]; then cat "$path"/*; else cat "$path"; fi
    done
  } | sha256sum | cut -d' ' -f1
}
SUM=$(sum)
row() { echo "{\"sum\":\"$SUM\"}" > "$OUT/$1"; }
case $KIND in
  train-reward|sft)
    mkdir "$OUT/model"
    echo '{"architectures":[]}' > "$OUT/model/config.json"
    echo "$SUM" > "$OUT/model/model.safetensors"
    # Models on the way: as many as save.STAGE says.
    for STEP in $(cat "$CONTROL/save.$STAGE" 2> /dev/null); do
      mkdir "$OUT/model@step-$STEP"
      echo "$SUM $STEP" > "$OUT/model@step-$STEP/model.safetensors"
    done
    row history.jsonl; row fed.jsonl ;;
  generate|score) row responses.jsonl; row fed.jsonl ;;
  *) row records.jsonl; row fed.jsonl ;;
esac
[ -e "$CONTROL/link.$STAGE" ] && { rm "$OUT/fed.jsonl"; ln -s /etc/hostname "$OUT/fed.jsonl"; }
[ -e "$CONTROL/less.$STAGE" ] && rm "$OUT/fed.jsonl"
[ -e "$CONTROL/nan.$STAGE" ] && { emit '{"event":"finished","metrics":{"loss":{"last":null}},"timings":{}}'; exit 0; }
emit '{"event":"finished","metrics":{"rows":1},"timings":{"total":0.5}}'
