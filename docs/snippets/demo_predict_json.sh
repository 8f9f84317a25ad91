fieldguide predict demo/runs/transfer demo/digits/test_set/seven/digit-0044.png --top 2 --json
