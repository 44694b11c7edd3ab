"""An app of dapr.ext.fastapi, and the synchronous client."""

import asyncio
import os
import threading

import actors
import blocks
import http_api
import invoke_http
import pubsub
import state
import uvicorn
from dapr.clients import DaprClient
from dapr.ext.fastapi import DaprActor, DaprApp
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from harness import APP_PORT, Report, Seen, possible, ready, shut_down
from routes import DECLARED, TOPICS, of_envelope, take, take_bulk

seen = Seen()
app = FastAPI()
dapr_app = DaprApp(app)
dapr_actor = DaprActor(app)
asyncio.run(dapr_actor.register_actor(actors.Counter))


def handler(route):
    async def handle(request: Request):
        event = of_envelope(await request.json(), request.headers)
        return {"status": await run_in_threadpool(take, seen, route, event)}

    return handle


for topic, (bus, metadata, dead_letter) in TOPICS.items():
    dapr_app.subscribe(bus, topic, metadata, f"/{topic}", dead_letter)(handler(f"/{topic}"))
for name in DECLARED:
    if name != "bulk":
        app.post(f"/{name}")(handler(f"/{name}"))


@app.post("/bulk")
async def bulk(request: Request):
    return take_bulk(seen, await request.json(), request.headers)


@app.api_route("/tick", methods=["OPTIONS", "POST"])
async def tick(request: Request):
    if request.method == "POST":
        seen.put("/tick", await request.body())


@app.post("/job/{name}")
async def job(name: str, request: Request):
    is_first = seen.count("/job/fragile") == 0
    seen.put(f"/job/{name}", await request.body())
    return Response(status_code=500 if name == "fragile" and is_first else 200)


@app.get("/teapot")
async def teapot():
    return Response("short and stout", status_code=418)


@app.api_route("/", methods=["GET", "POST"])
@app.api_route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@app.api_route("/echo/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request, response: Response):
    response.headers["x-answer"] = "yes"
    query = f"?{request.url.query}" if request.url.query else ""
    return {
        "method": request.method,
        "path": request.url.path + query,
        "headers": dict(request.headers),
        "body": (await request.body()).decode(),
    }


if __name__ == "__main__":
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=APP_PORT, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    ready()
    with_tokens = [http_api.tokens] if "DAPR_API_TOKEN" in os.environ else []
    report = Report("python/fastapi with tokens" if with_tokens else "python/fastapi")
    with DaprClient() as dapr:
        for scenario in state.SCENARIOS:
            report.run(scenario, dapr)
        for scenario in possible(report, invoke_http.SCENARIOS + pubsub.SCENARIOS + blocks.SCENARIOS):
            report.run(scenario, dapr, seen)
        for scenario in http_api.SCENARIOS + with_tokens:
            report.run(scenario, seen)
        if actors.are_hosted():
            for scenario in actors.SCENARIOS:
                report.run(scenario)
        else:
            report.skip("actors", "the sidecar has no placement service")
        shut_down(report, dapr)
