python -m venv .venv
. .venv/bin/activate
python -m pip install -c constraints.txt .
fieldguide --help
