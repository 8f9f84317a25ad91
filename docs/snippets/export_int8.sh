fieldguide export runs/dataset --format litert-int8
