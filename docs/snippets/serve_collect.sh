fieldguide serve runs/dataset --collect corrections/
