fieldguide train dataset/ --recipe scratch --set validate=true
