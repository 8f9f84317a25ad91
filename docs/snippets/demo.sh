fieldguide demo
