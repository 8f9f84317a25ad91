fieldguide export runs/dataset --format web --out page/
