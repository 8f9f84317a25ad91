fieldguide serve runs/dataset --token-file token.txt --allow-host pictures.example.org
