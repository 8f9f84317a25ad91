fieldguide train labels.csv
