fieldguide report runs/dataset
