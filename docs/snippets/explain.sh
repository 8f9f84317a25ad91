fieldguide explain runs/dataset photo.jpg
fieldguide explain runs/dataset photo.jpg --class cats --out why-not-a-cat.png
