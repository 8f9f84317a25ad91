fieldguide audit dataset/ --out dataset-audit
fieldguide train dataset/ --review dataset-audit/review.csv --recipe transfer
