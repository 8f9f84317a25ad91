fieldguide predict runs/dataset photos/ --set-coverage 0.95
