# One image for API and workers. It starts without a shell, root, a writable disk or a network.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/bridge
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock requirements-dev.lock ./
RUN ["/opt/build/bin/pip", "--python", "/opt/bridge/bin/python", "install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", "requirements.lock"]
# setuptools builds the wheel; requirements-dev.lock pins it.
RUN awk '/^[^ #]/ { mine = /^setuptools==/ } mine' requirements-dev.lock > build.lock && \
    /opt/build/bin/pip install --no-deps --only-binary :all: --require-hashes --requirement build.lock
COPY pyproject.toml README.md ./
COPY app app
COPY workers workers
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/build/bin/pip --python /opt/bridge/bin/python install --no-deps --no-index dist/*.whl

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="cph-webhook-bridge" \
      org.opencontainers.image.description="Signed callbacks for Huawei Cloud Phone jobs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/bridge /opt/bridge
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 8081
ENTRYPOINT ["cph-bridge"]
CMD ["--help"]
