fieldguide train dataset/ --sixteen-bit-max 4095
