# syntax=docker/dockerfile:1

# The wheel is built apart, so that nothing of the build is in the image that runs.
FROM python:3.14-slim AS build
WORKDIR /build
COPY requirements.txt ./
# Dependencies come first: they change more rarely than the code, and their layer is kept.
RUN python -m venv /opt/circdesk \
 && /opt/circdesk/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY src src
COPY openapi openapi
COPY alembic alembic
# The check leaves the bundled contract beside its files, as pip leaves bytecode: whoever runs the
# image may write neither.
RUN /opt/circdesk/bin/pip install --no-cache-dir --no-deps . \
 && /opt/circdesk/bin/circdesk spec check

FROM python:3.14-slim
# A numeric user lets orchestrators see that it is not root.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin circdesk \
 && install --directory --owner=10001 --group=10001 /var/lib/circdesk /var/lib/circdesk/uploads
COPY --from=build /opt/circdesk /opt/circdesk
ENV PATH=/opt/circdesk/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CIRCDESK_ENV=production \
    CIRCDESK_INSTANCE=/var/lib/circdesk \
    CIRCDESK_UPLOADS=/var/lib/circdesk/uploads
USER 10001
WORKDIR /var/lib/circdesk
VOLUME /var/lib/circdesk/uploads
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["circdesk"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
