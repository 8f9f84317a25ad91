fieldguide audit dataset/
fieldguide train dataset/
fieldguide predict runs/dataset photo.jpg photos/
