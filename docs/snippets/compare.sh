fieldguide train dataset/ --seed 1 --out runs/second
fieldguide compare runs/dataset runs/second --html comparison.html
