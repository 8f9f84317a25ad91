find photos -name '*.jpg' | fieldguide predict runs/dataset - --json
