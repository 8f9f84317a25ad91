fieldguide predict runs/dataset photos/ --csv > predictions.csv
