import json
import urllib.request
from pathlib import Path

request = urllib.request.Request(
    "http://127.0.0.1:8000/v1/predict",
    data=Path("photo.jpg").read_bytes(),
    headers={"Content-Type": "image/jpeg"},
)
with urllib.request.urlopen(request) as response:
    (answer,) = json.load(response)["predictions"]
print(answer["class_name"] or "none of these", answer["probability"])
