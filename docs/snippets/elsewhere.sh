fieldguide evaluate runs/dataset --data elsewhere/
