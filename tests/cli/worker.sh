#!/bin/sh
# A worker without a model: rows that are right in form, made up in content.
# Files in $CONTROL, named ACTION.STAGE, make it misbehave.
CONTROL=@CONTROL@
JOB=$3
field() { sed -n "s/^  \"$1\": \"\(.*\)\",*\$/\1/p" "$JOB" | head -n 1; }
STAGE=$(field stage)
OUT=$(field output_dir)
KIND=$(sed -n 's/^    "kind": "\(.*\)",*$/\1/p' "$JOB" | head -n 1)
emit() { printf '%s\n' "$1"; }

emit '{"event":"started","protocol":1,"fingerprint":{"libtorch":"none","device":"cpu","instructions":"sh","threads":1,"fp32_matmul":"highest"}}'
emit '{"event":"progress","phase":"working","done":1,"total":2,"unit":"rows"}'
[ -e "$CONTROL/hang.$STAGE" ] && { echo $$ > "$CONTROL/pid.$STAGE"; sleep 60 & wait; }
[ -e "$CONTROL/say.$STAGE" ] && { echo "a word" >&2; echo "and another" >&2; }
[ -e "$CONTROL/wait.$STAGE" ] && {
  echo yes > "$CONTROL/waits.$STAGE"
  while [ -e "$CONTROL/wait.$STAGE" ]; do sleep 0.05; done
  echo "the wait is over" >&2
}
[ -e "$CONTROL/fail.$STAGE" ] && { emit '{"event":"failed","message":"row 3 of helpful.jsonl is bad","hint":"mend it"}'; exit 1; }
[ -e "$CONTROL/kill.$STAGE" ] && { echo "the last words" >&2; kill -9 $$; }
[ -e "$CONTROL/large.$STAGE" ] && { head -c 4000000 /dev/zero > "$OUT/fed.jsonl" || {
  emit '{"event":"failed","message":"write fed.jsonl: No space left on device","hint":"make room"}'; exit 1; }; }
[ -e "$CONTROL/warn.$STAGE" ] && emit '{"event":"log","level":"warn","message":"half of the rows are tied"}'

PROMPT='[{"role":"user","content":"Say hello."}]'
METRICS='{}'
echo '{"set":"helpful","row":0,"text":"<s>Say hello.</s>","tokens":5,"truncated":0}' > "$OUT/fed.jsonl"
case $KIND in
  train-reward|sft)
    mkdir "$OUT/model"
    echo "{\"stage\":\"$STAGE\"}" > "$OUT/model/config.json"
    printf '{"step":1,"loss":0.7}\n{"step":2,"loss":0.5}\n' > "$OUT/history.jsonl"
    METRICS='{"steps":2,"final_loss":0.5}' ;;
  generate)
    echo "{\"id\":0,\"prompt\":$PROMPT,\"responses\":[{\"text\":\"Hello.\",\"tokens\":3},{\"text\":\"No.\",\"tokens\":3}]}" > "$OUT/responses.jsonl"
    METRICS='{"prompts":1,"responses":2}' ;;
  score)
    echo "{\"id\":0,\"prompt\":$PROMPT,\"responses\":[{\"text\":\"Hello.\",\"tokens\":3,\"score\":1.5},{\"text\":\"No.\",\"tokens\":3,\"score\":-0.5}]}" > "$OUT/responses.jsonl"
    METRICS='{"responses":2,"mean":0.5}' ;;
  judge)
    rm "$OUT/fed.jsonl"
    echo "{\"id\":0,\"prompt\":$PROMPT,\"a\":\"Hello.\",\"b\":\"No.\",\"reward_a\":1.5,\"reward_b\":-0.5}" > "$OUT/judged.jsonl" ;;
  *)
    echo '{"set":"helpful","row":0,"scores":[1.0,0.0],"rewards":[0.4,-0.2],"tokens":[5,6]}' > "$OUT/records.jsonl"
    METRICS='{"sets":{"helpful":{"pairs":1,"accuracy":1.0,"ece":0.1}},"mean":{"accuracy":1.0,"ece":0.1}}'
    [ -e "$CONTROL/worse.$STAGE" ] && {
      echo '{"set":"helpful","row":0,"scores":[1.0,0.0],"rewards":[-0.2,0.4],"tokens":[5,6]}' > "$OUT/records.jsonl"
      METRICS='{"sets":{"helpful":{"pairs":1,"accuracy":0.0,"ece":0.1}},"mean":{"accuracy":0.0,"ece":0.1}}'
    } ;;
esac
emit "{\"event\":\"finished\",\"metrics\":$METRICS,\"timings\":{\"total\":0.5}}"
