# The agent as an image: Debian slim, BCC from Debian, no compiler but the LLVM inside of BCC.
#
#   docker build -t gotax .
#   docker run --pid=host --cap-drop=ALL --cap-add=BPF --cap-add=PERFMON --cap-add=SYS_PTRACE \
#     --cap-add=DAC_READ_SEARCH --read-only --tmpfs=/tmp \
#     -v /sys/fs/cgroup:/sys/fs/cgroup:ro gotax selftest
#
# Nothing depends on the machine: --platform linux/amd64,linux/arm64 builds both. An image that can be
# the collector as well: --build-arg EXTRAS="kubernetes otlp collector".

ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      python3-venv python3-setuptools python3-wheel \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages /opt/gotax
WORKDIR /source
# What gotax depends on changes rarely: a layer of its own, without the tests of the libraries.
COPY pyproject.toml ./
ARG EXTRAS="kubernetes otlp"
RUN EXTRAS="${EXTRAS}" python3 -c 'import os, tomllib; \
p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
extras = [p["optional-dependencies"][e] for e in os.environ["EXTRAS"].split()]; \
print(*p["dependencies"], *sum(extras, []), sep="\n")' > dependencies.txt \
 && /opt/gotax/bin/pip install --no-cache-dir --no-compile -r dependencies.txt \
 && find /opt/gotax/lib -type d -name tests -prune -exec rm -rf {} +
COPY README.md LICENSE ./
COPY bpf bpf
COPY agent agent
COPY collector collector
# Compiled ahead, because the root file system is read-only; without pip, which is not needed.
RUN /opt/gotax/bin/pip install --no-cache-dir --no-compile --no-deps --no-build-isolation . \
 && /opt/gotax/bin/pip uninstall -y pip setuptools \
 && python3 -m compileall -q -j 0 /opt/gotax/lib

FROM ${BASE}
# Only what python3-bpfcc needs; no recommended kernel headers, which gotax's program does without.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-bpfcc tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
 && python3 -m compileall -q /usr/lib/python3/dist-packages/bcc
COPY --from=build /opt/gotax /opt/gotax
ENV PATH=/opt/gotax/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="gotax" \
      org.opencontainers.image.description="How much of a Go container's CPU is the Go runtime, and does GOMAXPROCS fit its limit?" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
# Root, because capabilities do not reach another user in Kubernetes; all but a few are dropped there.
USER 0:0
EXPOSE 9745
# tini forwards signals and reaps the child that compiles the BPF program; -s, because with the
# PIDs of the host it is not PID 1.
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "gotax"]
CMD ["agent"]
