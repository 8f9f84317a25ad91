fieldguide lr-find dataset/ --plot rates.png
