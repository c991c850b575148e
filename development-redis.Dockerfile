# A Redis for development clusters. A file of its own, since skaffold builds every image of a file anew when what any of
# them copies changes.
ARG PYTHON=python:3.11-slim-bookworm
FROM $PYTHON
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
           /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
           /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- \
 && sed -i 's/^\(redis:[^:]*\):[0-9]*:/\1:0:/' /etc/shadow
USER 1000:1000
LABEL org.opencontainers.image.title="development-redis" \
      org.opencontainers.image.description="A Redis for development clusters" \
      org.opencontainers.image.vendor="repoloom" \
      org.opencontainers.image.licenses="Apache-2.0"
