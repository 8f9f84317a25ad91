fieldguide predict runs/dataset photos/ --json > predictions.jsonl
