fieldguide bench-export runs/dataset --format onnx --format openvino
