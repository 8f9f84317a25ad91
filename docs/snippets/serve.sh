fieldguide serve runs/dataset
