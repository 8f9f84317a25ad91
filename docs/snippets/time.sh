fieldguide train dataset/ --recipe classic --time 10m
