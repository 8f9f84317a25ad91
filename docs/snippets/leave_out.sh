fieldguide train dataset/ --exclude-class foxes
