fieldguide export runs/dataset --format onnx
