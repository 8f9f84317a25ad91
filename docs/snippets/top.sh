fieldguide predict runs/dataset photo.jpg --top 3
