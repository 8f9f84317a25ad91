"""What the server answers: `create_app` gives an ASGI application for one classifier."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from fieldguide import __version__
from fieldguide.classifier import NONE_OF_THESE, Classifier
from fieldguide.errors import DecodeError, FieldguideError
from fieldguide.page import FILES, MEDIA_TYPES, page_files
from fieldguide.records import Prediction
from fieldguide.serving import answers
from fieldguide.serving.batching import Batcher
from fieldguide.serving.collecting import Collector, FolderFull
from fieldguide.serving.decoders import Decoders, NoDecoderFree, Prepared
from fieldguide.serving.guard import RETRY_AFTER, Guard
from fieldguide.serving.limits import Limits
from fieldguide.serving.metrics import Metrics

MAX_WORKERS = 4
# Reasons of DecodeError that mean: no picture of a format that is read here.
_NOT_A_PICTURE = frozenset({"not_an_image", "needs_heic"})
_DESCRIPTION = "Classifies pictures. Nothing is kept, but for what is sent to /v1/correct where the server was told to."


@dataclass(eq=False)
class Service:
    """What the routes work with."""

    classifier: Classifier
    limits: Limits
    decoders: Decoders
    batcher: Batcher
    metrics: Metrics
    collector: Collector | None
    is_ready: bool = False

    @property
    def model(self) -> str:
        """Names the classifier in each answer."""
        return self.classifier.bundle.model_hash

    async def prepare(self, content: bytes) -> Prepared:
        """One picture, decoded by a worker. Errors as `Decoders.decode`; HTTPException 503 if none is free."""
        try:
            return await self.decoders.decode(content)
        except NoDecoderFree:
            raise HTTPException(503, "Too much to do at once; try again in a second.", headers=RETRY_AFTER) from None

    async def answer(self, content: bytes, *, heatmap: bool) -> tuple[dict[str, Any], str | None]:
        """The answer for one picture, and the reason code where it could not be read."""
        evidence = None
        try:
            pixels = (await self.prepare(content)).pixels
            if heatmap:
                prediction, evidence = await self.batcher.explain(pixels)
            else:
                prediction = await self.batcher.predict(pixels)
            outcome = NONE_OF_THESE if prediction.none_of_these else prediction.nearest_class
            reason = None
        except DecodeError as error:
            prediction = Prediction(None, None, None, None, error=str(error))
            outcome = reason = error.reason
        self.metrics.pictures.labels(outcome).inc()
        values = answers.picture(prediction)
        if heatmap:
            values["heatmap"] = None if evidence is None else answers.heatmap(prediction, evidence)
        return values, reason


def create_app(
    classifier: Classifier,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] = (),
    sites: Collection[str] = (),
    collect: str | os.PathLike[str] | None = None,
    num_workers: int | None = None,
) -> ASGIApp:
    """An ASGI application that answers for a classifier; `fieldguide.serve` runs it.

    Args:
        classifier: as `fieldguide.load` returns it.
        limits: what a request may cost.
        token: what `Authorization: Bearer` must hold; None lets everybody ask.
        hosts: names by which the server may be called; empty lets it be called by any.
        sites: names of sites whose pages may send pictures, such as that of a proxy before it.
        collect: folder for corrections; None takes none.
        num_workers: processes that decode; one a core, and at most 4, when None.

    Raises:
        DatasetError: if corrections are wanted and a class name is no safe name of a folder.
    """
    limits = limits or Limits()
    names = classifier.class_names
    service = Service(
        classifier=classifier,
        limits=limits,
        decoders=Decoders(
            classifier.bundle.preprocessing, limits, num_workers=num_workers or min(MAX_WORKERS, os.cpu_count() or 1)
        ),
        batcher=Batcher(classifier),
        metrics=Metrics(),
        collector=None if collect is None else Collector(Path(collect), names, max_pictures=limits.max_collected),
    )
    api = FastAPI(
        title="fieldguide",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # these pages load their scripts from other people's servers
        redoc_url=None,
        lifespan=_lifespan,
    )
    api.state.service = service
    _add_routes(api)
    api.add_exception_handler(HTTPException, _on_refusal)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    known = {getattr(route, "path", "") for route in api.routes}

    def observe(path: str, status: int, seconds: float) -> None:
        path = path if path in known else "other"
        service.metrics.requests.labels(path, status).inc()
        service.metrics.seconds.labels(path).observe(seconds)

    page_paths = ("/", *(f"/{name}" for name in FILES))
    guard = Guard(api, limits=limits, token=token, hosts=hosts, sites=sites, page_paths=page_paths, observe=observe)
    service.metrics.watch(guard, service.decoders, service.batcher)
    return guard


@contextlib.asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    service: Service = api.state.service
    await asyncio.gather(service.decoders.start(), service.batcher.start())
    service.is_ready = True
    try:
        yield
    finally:
        service.is_ready = False
        await service.batcher.close()
        await service.decoders.close()


def _add_routes(api: FastAPI) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": answers.Refusal, "description": text}
        for status, text in {
            400: "The form is damaged",
            401: "A token is needed",
            408: "The request took too long to come",
            413: "Too large, or too many pictures",
            503: "Too much to do; see Retry-After",
        }.items()
    }
    either = answers.Answer | answers.Refusal  # of the pictures one by one, or of the request
    unread: dict[int | str, dict[str, Any]] = {
        415: {"model": either, "description": "None of what was sent is a picture of a format that is read"},
        422: {"model": either, "description": "No picture was sent, or none could be read; `error` says why"},
    }
    api.post(
        "/v1/predict",
        response_model=answers.Answer,
        responses={200: {"content": {"application/json": {"example": answers.EXAMPLE}}}, **unread, **refusals},
        openapi_extra={"requestBody": _picture_body("files")},
        summary="Classify one picture or several",
    )(predict)
    api.post(
        "/v1/correct",
        response_model=answers.Collected,
        responses={
            404: {"model": answers.Refusal, "description": "This server keeps no pictures, or has no such class"},
            415: {"model": answers.Refusal, "description": "Not a picture of a format that is read"},
            422: {"model": answers.Refusal, "description": "The picture cannot be read"},
            507: {"model": answers.Refusal, "description": "There is no room for more"},
            **refusals,
        },
        openapi_extra={"requestBody": _picture_body("file")},
        summary="Keep a picture with the class that it should have got",
    )(correct)
    api.get("/v1/model", response_model=answers.Model, responses={401: refusals[401]}, summary="What runs here")(model)
    for name, content in page_files(predictor="predictor-http.js").items():
        paths = ("/", "/index.html") if name == "index.html" else (f"/{name}",)
        for path in paths:
            api.get(path, include_in_schema=False)(_file(content, MEDIA_TYPES[name.rpartition(".")[2]]))
    api.get("/healthz", summary="Whether the process is alive", include_in_schema=False)(healthz)
    api.get("/readyz", summary="Whether it takes pictures", include_in_schema=False)(readyz)
    api.get("/metrics", include_in_schema=False)(metrics)


def _picture_body(field: str) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    of_form = {"type": "array", "items": binary["schema"]} if field == "files" else binary["schema"]
    form = {"schema": {"type": "object", "properties": {field: of_form}, "required": [field]}}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    return {"required": True, "content": {"multipart/form-data": form, **dict.fromkeys(kinds, binary)}}


def _file(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return file


async def predict(request: Request, heatmap: bool = False) -> Response:
    """Send the picture as the body (`Content-Type: image/jpeg`), or one or more files as `multipart/form-data`.

    Answers come in the order of the pictures. The status is 200 if at least one of them could be read. With `heatmap=true` each
    also says where in the picture the evidence for its nearest class lies.
    """
    service: Service = request.app.state.service
    contents = await _pictures(request, service.limits)
    found = await asyncio.gather(*(service.answer(content, heatmap=heatmap) for content in contents))
    reasons = [reason for _, reason in found]
    status = 200 if None in reasons else 415 if set(reasons) <= _NOT_A_PICTURE else 422
    return JSONResponse({"model": service.model, "predictions": [values for values, _ in found]}, status)


async def correct(request: Request, class_name: str) -> Response:
    """Send the picture as to /v1/predict; it is kept as it came, under a name made from its content."""
    service: Service = request.app.state.service
    if service.collector is None:
        raise HTTPException(404, "This server keeps no pictures; it would if it were started with --collect DIR.")
    if class_name not in service.classifier.class_names:
        raise HTTPException(404, f"There is no class {class_name[:100]!r}.")
    contents = await _pictures(request, service.limits)
    if len(contents) != 1:
        raise HTTPException(422, f"One picture at a time; received {len(contents)}.")
    try:
        prepared = await service.prepare(contents[0])
        name = await asyncio.to_thread(service.collector.add, contents[0], class_name, prepared.format)
    except DecodeError as error:
        raise HTTPException(415 if error.reason in _NOT_A_PICTURE else 422, str(error)) from error
    except FolderFull:
        raise HTTPException(507, f"The folder holds {service.limits.max_collected:,} pictures already.") from None
    except FieldguideError as error:
        raise HTTPException(507, "The picture could not be written; the disk may be full.") from error
    return JSONResponse({"model": service.model, "class_name": class_name, "name": name})


async def model(request: Request) -> Response:
    """The classes, the network and the limits of a request."""
    service: Service = request.app.state.service
    classifier, novelty = service.classifier, service.classifier.certainty.novelty
    values = answers.Model(
        model=service.model,
        class_names=list(classifier.class_names),
        image_size=list(classifier.image_size),
        recipe=classifier.bundle.recipe,
        precision=classifier.engine().precision,
        reject=novelty.reject if novelty else 0.0,
        max_body_bytes=service.limits.max_body_bytes,
        max_pictures=service.limits.max_pictures,
        explains=True,
        collects=service.collector is not None,
        version=__version__,
    )
    return JSONResponse(values.model_dump())


async def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", media_type="text/plain")


async def readyz(request: Request) -> Response:
    """The network is loaded and pictures can be decoded."""
    service: Service = request.app.state.service
    if service.is_ready and service.decoders.num_alive:
        return Response("ready\n", media_type="text/plain")
    return Response("not ready\n", 503, media_type="text/plain")


async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(request.app.state.service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _pictures(request: Request, limits: Limits) -> Sequence[bytes]:
    """The files of a request, in their order. What the client calls them is not looked at."""
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        too_many = HTTPException(413, f"A request may have at most {limits.max_pictures} pictures.")
        try:
            async with request.form(max_files=limits.max_pictures, max_fields=limits.max_pictures) as form:
                files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
                if not files:
                    raise HTTPException(422, "There is no file in the form.")
                return [await part.read() for part in files]
        except HTTPException as error:
            raise too_many if error.detail.startswith("Too many") else error from None
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [await request.body()]
    raise HTTPException(
        415, f"Content-Type {kind[:100]!r} is no picture; send image/jpeg, application/octet-stream or multipart/form-data."
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this type; tells the type checker
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)
