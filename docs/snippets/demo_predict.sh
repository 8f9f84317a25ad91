fieldguide predict demo/runs/transfer demo/digits/test_set/seven --top 2
