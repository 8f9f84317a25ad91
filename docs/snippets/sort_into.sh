fieldguide predict runs/dataset photos/ --sort-into sorted/
