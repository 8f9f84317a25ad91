for seed in 0 1 2; do
  fieldguide train dataset/ --seed $seed --json >> scores.jsonl
done
