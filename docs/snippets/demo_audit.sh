fieldguide audit demo/digits
