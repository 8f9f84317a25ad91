fieldguide train dataset/ --also corrections/
