# syntax=docker/dockerfile:1
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3.11-venv ca-certificates \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements*.lock ./
# Two environments: the console and the basemap are built with tools that the system never needs.
RUN python3.11 -m venv /src/.venv \
  && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements-assets.lock \
  && python3.11 -m venv /opt/tracker \
  && /opt/tracker/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN .venv/bin/pip install --no-deps --no-build-isolation -e . \
  && scripts/build_assets \
  && rm -rf maps/assets/node_modules .venv
# Installed from its folder, so that what was built stays where the code looks for it.
RUN /opt/tracker/bin/pip install --no-deps --no-build-isolation -e /src

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3.11 tzdata \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --system --gid 1883 tracker \
  && useradd --system --uid 1883 --gid 1883 --create-home --home-dir /var/lib/tracker tracker \
  # The broker's image uses the same number, so it may read what is written for its owner only.
  && mkdir -p /srv/broker/mosquitto && chown -R tracker:tracker /srv/broker && chmod 711 /srv/broker
COPY --from=build /opt/tracker /opt/tracker
COPY --from=build /src /src
COPY docker/entrypoint /usr/local/bin/tracker-entrypoint
COPY docker/migrate /usr/local/bin/tracker-migrate
ENV PATH=/opt/tracker/bin:$PATH PYTHONUNBUFFERED=1
USER tracker
WORKDIR /var/lib/tracker
VOLUME /var/lib/tracker
ENTRYPOINT ["tracker-entrypoint"]
CMD ["tracker", "--help"]
