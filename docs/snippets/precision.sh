fieldguide train dataset/ --precision f32
fieldguide predict runs/dataset photo.jpg --precision f32
