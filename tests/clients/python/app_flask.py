"""An app of dapr.ext.flask, and the asyncio client."""

import logging
import threading

import blocks
import http_api
import invoke_http
import pubsub
import state
from dapr.aio.clients import DaprClient
from dapr.ext.flask import DaprApp
from flask import Flask, Response, jsonify, request
from harness import APP_PORT, Blocking, Report, Seen, possible, ready, shut_down
from routes import DECLARED, TOPICS, of_envelope, take, take_bulk

seen = Seen()
app = Flask("app")
dapr_app = DaprApp(app)


def handler(route):
    return lambda: {"status": take(seen, route, of_envelope(request.get_json(force=True), lowered()))}


def lowered():
    return {name.lower(): value for name, value in request.headers.items()}


for topic, (bus, metadata, dead_letter) in TOPICS.items():
    dapr_app.subscribe(bus, topic, metadata, f"/{topic}", dead_letter)(handler(f"/{topic}"))
for name in DECLARED:
    if name != "bulk":
        app.add_url_rule(f"/{name}", name, handler(f"/{name}"), methods=["POST"])


@app.post("/bulk")
def bulk():
    return take_bulk(seen, request.get_json(force=True), lowered())


# Flask answers OPTIONS by itself.
@app.post("/tick")
def tick():
    seen.put("/tick", request.get_data())
    return ""


@app.post("/job/<name>")
def job(name):
    is_first = seen.count("/job/fragile") == 0
    seen.put(f"/job/{name}", request.get_data())
    return Response(status=500 if name == "fragile" and is_first else 200)


@app.get("/teapot")
def teapot():
    return Response("short and stout", status=418)


@app.route("/", methods=["GET", "POST"])
@app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@app.route("/echo/<path:_rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def echo(_rest=None):
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    said = {"method": request.method, "path": request.path + query, "headers": lowered()}
    return jsonify(said | {"body": request.get_data(as_text=True)}), 200, {"x-answer": "yes"}


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = threading.Thread(target=lambda: app.run("127.0.0.1", APP_PORT, threaded=True), daemon=True)
    server.start()
    ready()
    report = Report("python/flask/asyncio")
    dapr = Blocking(DaprClient)
    for scenario in state.SCENARIOS:
        report.run(scenario, dapr)
    for scenario in possible(report, invoke_http.SCENARIOS + pubsub.SCENARIOS + blocks.SCENARIOS, is_async=True):
        report.run(scenario, dapr, seen)
    for scenario in http_api.SCENARIOS:
        report.run(scenario, seen)
    shut_down(report, dapr)
