# ragkit serve over the corpora in /corpora. The language model runs elsewhere: compose.yaml has vLLM beside it.
#   docker build -t ragkit .
#   docker run -p 8000:8000 -v $PWD/papers:/corpora/papers -v $PWD/keys.toml:/etc/ragkit/keys.toml:ro ragkit
FROM python:3.11-slim

# The build of torch for CPUs: the image is gigabytes smaller than with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY . /src
RUN pip install --no-cache-dir --index-url ${TORCH_INDEX} torch \
    && pip install --no-cache-dir --constraint /src/constraints.txt '/src[vision,cpu,ocr,office,serve]' \
    && rm -rf /src \
    && useradd --create-home --uid 10001 ragkit \
    && install -d -o ragkit -g ragkit /corpora /cache

USER ragkit
WORKDIR /corpora
ENV RAGKIT_CACHE=/cache HF_HOME=/cache/huggingface PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "ragkit"]
CMD ["serve", "--corpus", "/corpora/papers", "--host", "0.0.0.0", "--port", "8000", "--keys", "/etc/ragkit/keys.toml"]
