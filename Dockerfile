# Three images from one file:
#   worker    the default: run-time dependencies only
#   lambda    the same behind AWS Lambda's runtime interface (docs/lambda.md)
#   training  also trains and registers models, serves MLflow, simulates and replays
# The base is pinned by tag; pin it by digest with --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS worker-dependencies
# Without pip, and without the packages' tests, which are a tenth of their size.
RUN python3 -m venv --without-pip /opt/hazardstream
COPY requirements-worker.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/hazardstream/bin/python install --require-hashes -r /tmp/requirements-worker.lock \
 && find /opt/hazardstream -type d -name tests -prune -exec rm -rf {} +

FROM worker-dependencies AS training-dependencies
COPY requirements-training.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/hazardstream/bin/python install --require-hashes -r /tmp/requirements-training.lock \
 && find /opt/hazardstream -type d -name tests -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE} AS wheel
RUN python3 -m venv /opt/build
COPY requirements-build.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/python -m pip install --require-hashes -r /tmp/requirements-build.lock
WORKDIR /src
COPY . .
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

FROM ${PYTHON_IMAGE} AS runtime
LABEL org.opencontainers.image.title="hazardstream" \
      org.opencontainers.image.description="Exactly-once streaming scorer: sensor readings in, predictions and alarms out, on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 hazardstream \
 && useradd --uid 10001 --gid 10001 --home-dir /var/cache/hazardstream --create-home --shell /usr/sbin/nologin hazardstream
# Bytecode is compiled at build time, because the root file system may be read-only.
# 0.0.0.0 is the container's own network; the port mapping decides what is visible outside.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HAZARDSTREAM_CACHE_DIRECTORY=/var/cache/hazardstream \
    HAZARDSTREAM_HTTP_HOST=0.0.0.0
WORKDIR /var/cache/hazardstream
STOPSIGNAL SIGTERM
ENTRYPOINT ["hazardstream"]

FROM runtime AS training
RUN install --directory --owner 10001 --group 10001 /var/lib/mlflow
COPY --from=training-dependencies /opt/hazardstream /opt/hazardstream
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    python3 -m pip --no-cache-dir --python /opt/hazardstream/bin/python install --no-deps /dist/*.whl
ENV PATH=/opt/hazardstream/bin:$PATH
USER 10001:10001
VOLUME ["/var/cache/hazardstream"]
CMD ["--help"]

FROM worker-dependencies AS lambda-dependencies
COPY requirements-lambda.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/hazardstream/bin/python install --require-hashes -r /tmp/requirements-lambda.lock

FROM runtime AS lambda
COPY --from=lambda-dependencies /opt/hazardstream /opt/hazardstream
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    python3 -m pip --no-cache-dir --python /opt/hazardstream/bin/python install --no-deps /dist/*.whl
# Of the file system, Lambda lets a function write only here.
ENV HAZARDSTREAM_CACHE_DIRECTORY=/tmp/hazardstream
USER 10001:10001
ENTRYPOINT ["/opt/hazardstream/bin/python", "-m", "awslambdaric"]
CMD ["serve.aws_lambda.function.handler"]

FROM runtime AS worker
COPY --from=worker-dependencies /opt/hazardstream /opt/hazardstream
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    python3 -m pip --no-cache-dir --python /opt/hazardstream/bin/python install --no-deps /dist/*.whl
ENV PATH=/opt/hazardstream/bin:$PATH
USER 10001:10001
VOLUME ["/var/cache/hazardstream"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-I", "-S", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('HAZARDSTREAM_HTTP_PORT', '8080')), timeout=4); c.request('GET', '/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["worker"]
