fieldguide predict runs/dataset photos/ --reject 0.05
fieldguide predict runs/dataset photos/ --reject 0
