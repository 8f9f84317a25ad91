fieldguide verify runs/dataset
