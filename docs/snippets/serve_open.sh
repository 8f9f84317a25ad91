python -c "import secrets; print(secrets.token_urlsafe(32))" > token.txt
chmod 600 token.txt
fieldguide serve runs/dataset --host 0.0.0.0 --token-file token.txt
