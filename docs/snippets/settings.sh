fieldguide train dataset/ --recipe classic --set epochs=60 --set horizontal_flip=false
