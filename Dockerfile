# Serves one trained run on a processor, without TensorFlow.
#     docker build -t fieldguide-serve .
#     docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:8000:8000 \
#       -v ./runs/dataset/bundle:/bundle:ro -e FIELDGUIDE_TOKEN fieldguide-serve
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt requirements-serve.txt ./
COPY src src
RUN python -m venv /opt/fieldguide \
 && /opt/fieldguide/bin/pip install --no-cache-dir -c constraints.txt -r requirements-serve.txt \
 && /opt/fieldguide/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/fieldguide /opt/fieldguide
RUN useradd --no-create-home --uid 10001 fieldguide
USER fieldguide
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --start-period=10s CMD ["/opt/fieldguide/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz')"]
ENTRYPOINT ["/opt/fieldguide/bin/fieldguide", "serve", "/bundle", "--host", "0.0.0.0"]
