fieldguide train dataset/ --recipe classic --set epochs=5 --set min_steps=100
