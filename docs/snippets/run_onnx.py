import json
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reports to its maker otherwise

import numpy as np
import onnxruntime
from PIL import Image

import fieldguide

done = fieldguide.export("runs/dataset", "onnx", out="anywhere/onnx")
print(done.parity.top1_agreement, done.parity.max_abs_diff)

# From here on fieldguide is not needed.
session = onnxruntime.InferenceSession("anywhere/onnx/model-picture.onnx")
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
picture = np.asarray(Image.open("photo.jpg").convert("RGB"))  # of any size
names = [output.name for output in session.get_outputs()]
answer = dict(zip(names, session.run(None, {"picture": picture[None]}), strict=True))
nearest = class_names[answer["probabilities"][0].argmax()]
# A training that kept no picture aside, as scratch, does not know what is none of its classes.
is_strange = answer.get("none_of_these", [False])[0]
print("none of these" if is_strange else nearest)
