fieldguide reproduce runs/dataset
