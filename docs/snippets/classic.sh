fieldguide train dataset/ --recipe classic
