#!/bin/sh
# A worker that computes nothing: rows that are right in form.
JOB=$3
OUT=$(sed -n 's/^  "output_dir": "\(.*\)",*$/\1/p' "$JOB")
KIND=$(sed -n 's/^    "kind": "\(.*\)",*$/\1/p' "$JOB" | head -n 1)
PROMPT='[{"role":"user","content":"Say hello."}]'
echo '{"event":"started","protocol":1,"fingerprint":{"libtorch":"none","device":"cpu","instructions":"sh","threads":1,"fp32_matmul":"highest"}}'
echo '{"set":"pairs","row":0,"text":"Say hello.","tokens":5,"truncated":0}' > "$OUT/fed.jsonl"
case $KIND in
  train-reward)
    mkdir "$OUT/model"
    echo '{}' > "$OUT/model/config.json"
    echo '{"step":1,"loss":0.7}' > "$OUT/history.jsonl" ;;
  generate)
    echo "{\"id\":0,\"prompt\":$PROMPT,\"responses\":[{\"text\":\"Hello.\",\"tokens\":3},{\"text\":\"No.\",\"tokens\":3}]}" > "$OUT/responses.jsonl" ;;
  score)
    echo "{\"id\":0,\"prompt\":$PROMPT,\"responses\":[{\"text\":\"Hello.\",\"tokens\":3,\"score\":1.5},{\"text\":\"No.\",\"tokens\":3,\"score\":-0.5}]}" > "$OUT/responses.jsonl" ;;
esac
echo '{"event":"finished","metrics":{},"timings":{}}'
