fieldguide card runs/dataset --out MODEL_CARD.md
