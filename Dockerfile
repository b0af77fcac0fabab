# One image, two services: the web server (default command) and the runner of jobs.
#   docker build -t spatialmeta .
#   docker compose -f docs/compose.yaml up
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    SPATIALMETA_DATA=/data SPATIALMETA_HOST=0.0.0.0 OMP_NUM_THREADS=2
WORKDIR /srv/spatialmeta

# torch first and alone: give an index with CPU builds (the default) or with CUDA builds
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/ requirements/
RUN pip install --extra-index-url ${TORCH_INDEX} -r requirements/torch.txt

# dependencies before the code, so that a change of the code does not install them again
COPY pyproject.toml README.md LICENSE ./
COPY core/__init__.py core/__init__.py
RUN mkdir -p spatialmeta_app && touch spatialmeta_app/__init__.py \
    && pip install -c requirements/lock.txt -e .

COPY . .
RUN useradd --create-home --uid 1000 spatialmeta && install -d -o spatialmeta -g spatialmeta /data
USER spatialmeta
VOLUME /data
EXPOSE 8050
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8050/readyz', timeout=3)"]
CMD ["gunicorn", "--workers", "2", "--threads", "8", "--bind", "0.0.0.0:8050", "--timeout", "120", "app:server"]
