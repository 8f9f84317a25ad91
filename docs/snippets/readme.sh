fieldguide audit dataset/
fieldguide train dataset/
fieldguide predict runs/dataset photo.jpg photos/
fieldguide explain runs/dataset photo.jpg
fieldguide evaluate runs/dataset --data elsewhere/
fieldguide train dataset/ --recipe classic
fieldguide export runs/dataset --format onnx
fieldguide compare runs/dataset runs/dataset-2
