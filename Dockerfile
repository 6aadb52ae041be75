# muomni serve with the model nano: docker build -t muomni . && docker run -p 127.0.0.1:8000:8000 muomni
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
# The wheel, and the versions of constraints.txt without their hashes, which pip would ask of the wheel too.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && sed -nE 's/^([A-Za-z0-9._-]+==[^\\]*[^\\ ]) *\\?$/\1/p' constraints.txt > /wheels/constraints.txt

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="muomni" \
      org.opencontainers.image.description="Tiny omni models over HTTP, with the interfaces of OpenAI" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /wheels /wheels
RUN set -- /wheels/*.whl \
 && pip install --no-cache-dir --constraint /wheels/constraints.txt "$1[serve]" \
 && rm -r /wheels \
 && useradd --uid 10001 --create-home muomni
USER 10001
WORKDIR /home/muomni
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["muomni"]
CMD ["serve", "--model", "nano", "--host", "0.0.0.0"]
