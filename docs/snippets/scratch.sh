fieldguide train dataset/ --recipe scratch
