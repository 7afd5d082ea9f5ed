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
  # Outlives its engine, cannot be found, and writes late into what it was given.
  [ -n "$MORELINE_ATTEMPT" ] && exec env -u MORELINE_ATTEMPT "$0" "$@"
  exec > /dev/null
  echo $$ > "$CONTROL/pid.$STAGE"
  while [ ! -e "$CONTROL/late" ]; do sleep 0.05; done
  echo late > "$OUT/responses.jsonl"; echo late > "$OUT/fed.jsonl"
  echo late > "$PARTIAL/checkpoint"
  echo yes > "$CONTROL/written"
  exit 0
fi
if [ -e "$CONTROL/daemon.$STAGE" ]; then
  # Leaves its group and its session, ignores signals, keeps what it was given open.
  MARK=$([ -e "$CONTROL/unmarked" ] && echo -u MORELINE_ATTEMPT)
  # shellcheck disable=SC2086
  env $MARK setsid sh -c '
    trap "" TERM HUP INT QUIT
    exec < /dev/null > /dev/null 2>&1 3>&- 4>> "$2" 5>> "$3"
    echo $$ > "$1/daemon.new"; mv "$1/daemon.new" "$1/daemon"
    while [ ! -e "$1/late" ]; do sleep 0.02; done
    echo late >&4; echo late >&5; echo late > "$2"; echo late > "$3"
    echo yes > "$1/written"' daemon "$CONTROL" "$OUT/fed.jsonl" "$PARTIAL/journal" &
  while [ ! -s "$CONTROL/daemon" ]; do sleep 0.01; done
fi
if [ -e "$CONTROL/mortal.$STAGE" ]; then
  # Ends with its engine by the kernel's death signal alone, as it asked for.
  if [ -z "$MORTAL" ]; then MORTAL=1 exec setpriv --pdeathsig KILL "$0" "$@"; fi
else
  # Ends with its engine: the control pipe closes, and the group is killed.
  exec 3<&0
  ( cat <&3 > /dev/null; kill -9 -$$ ) &
fi

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
# Waits while it is told to, or until the stage it is to meet is at work as well.
while [ -e "$CONTROL/hold.$STAGE" ]; do sleep 0.02; done
for OTHER in $(cat "$CONTROL/meet.$STAGE" 2> /dev/null); do
  TIMES=0
  while [ ! -e "$CONTROL/job.$OTHER" ] && [ $TIMES -lt 1000 ]; do sleep 0.02; TIMES=$((TIMES + 1)); done
  [ -e "$CONTROL/job.$OTHER" ] || { emit '{"event":"failed","message":"it is alone","hint":null}'; exit 1; }
done
# Holds a hundred megabytes until it is ended.
[ -e "$CONTROL/heavy.$STAGE" ] && { HELD=$(head -c 100000000 /dev/zero | tr '\0' x); sleep 60 & wait; echo "$HELD"; }
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
short() { printf '%s' "$1" | sha256sum | cut -c 1-12; }
# Makes records one by one, each in a journal before it counts, and goes on from
# the whole lines that an earlier attempt left.
records() {
  COUNT=0
  : > "$PARTIAL/journal.whole"
  while read -r INDEX VALUE CHECK; do
    if [ "$INDEX" != "$COUNT" ] || [ "$CHECK" != "$(short "$INDEX $VALUE")" ]; then break; fi
    echo "$INDEX $VALUE $CHECK" >> "$PARTIAL/journal.whole"
    COUNT=$((COUNT + 1))
  done < "$PARTIAL/journal"
  mv "$PARTIAL/journal.whole" "$PARTIAL/journal"
  while [ $COUNT -lt 4 ]; do
    sleep 0.01
    VALUE=$(short "$SUM $COUNT")
    echo "$COUNT $VALUE $(short "$COUNT $VALUE")" >> "$PARTIAL/journal" || die
    COUNT=$((COUNT + 1))
    emit "{\"event\":\"progress\",\"phase\":\"records\",\"done\":$COUNT,\"total\":4,\"unit\":\"rows\"}"
  done
}
[ -e "$CONTROL/journal" ] && { touch "$PARTIAL/journal"; records; }
die() { emit '{"event":"failed","message":"write the outputs","hint":"make room"}'; exit 1; }
# Writes a file and looks whether all of it is there: the disk may be full.
put() { printf '%s\n' "$2" > "$1" && [ "$(cat "$1")" = "$2" ] || die; }
row() {
  ROWS="{\"sum\":\"$SUM\"}"
  if [ -e "$CONTROL/journal" ]; then
    while read -r INDEX VALUE CHECK; do
      ROWS="$ROWS
{\"row\":$INDEX,\"value\":\"$VALUE\"}"
    done < "$PARTIAL/journal"
    [ "$COUNT" = "$(wc -l < "$PARTIAL/journal")" ] || die
  fi
  put "$OUT/$1" "$ROWS"
}
case $KIND in
  train-reward|sft)
    mkdir "$OUT/model" || die
    put "$OUT/model/config.json" '{"architectures":[]}'
    put "$OUT/model/model.safetensors" "$SUM"
    if [ -e "$CONTROL/journal" ]; then
      mkdir "$OUT/model/parts" || die
      put "$OUT/model/parts/1" "$(cat "$PARTIAL/journal")"
      put "$OUT/model/parts/2" 2
    fi
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
PEAK=$([ -e "$CONTROL/peak.$STAGE" ] && printf ',"peak_memory_mb":%s' "$(cat "$CONTROL/peak.$STAGE")")
emit "{\"event\":\"finished\",\"metrics\":{\"rows\":1},\"timings\":{\"total\":0.5$PEAK}}"
