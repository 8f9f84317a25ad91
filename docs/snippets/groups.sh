fieldguide train dataset/ --group-by 'animal-\d+'
