# The agent as an image: Debian slim, BCC from Debian, no compiler but the LLVM inside of BCC.
#
#   docker build -t gotax .
#   docker run --pid=host --cap-drop=ALL --cap-add=BPF --cap-add=PERFMON --cap-add=SYS_PTRACE \
#     --cap-add=DAC_READ_SEARCH --read-only --tmpfs=/tmp \
#     -v /sys/fs/cgroup:/sys/fs/cgroup:ro gotax selftest
#
# Nothing depends on the machine: --platform linux/amd64,linux/arm64 builds both. An image that can be
# the collector as well: --build-arg EXTRAS="kubernetes otlp collector".

# bookworm-20260824-slim, for every machine. apt-get upgrade adds what Debian has mended since.
ARG BASE=docker.io/library/debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      python3-venv python3-setuptools python3-wheel \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages /opt/gotax
WORKDIR /source
# What gotax depends on changes rarely: a layer of its own, without the tests of the libraries. Each
# file is checked by its hash.
COPY locks locks
ARG EXTRAS="kubernetes otlp"
RUN case " ${EXTRAS} " in *" collector "*) lock=collector ;; *) lock=agent ;; esac \
 && /opt/gotax/bin/pip install --no-cache-dir --no-compile --require-hashes -r "locks/${lock}.txt" \
 && find /opt/gotax/lib -type d -name tests -prune -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE ./
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
 && apt-get upgrade -y \
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
