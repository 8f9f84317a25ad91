docker build -t fieldguide-serve .
SAFE="--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges"
WHERE="-p 127.0.0.1:8000:8000 -v ./runs/dataset/bundle:/bundle:ro"
docker run $SAFE $WHERE -e FIELDGUIDE_TOKEN fieldguide-serve
