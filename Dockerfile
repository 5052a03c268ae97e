# The agent as an image: Debian slim, BCC from Debian, no compiler but the LLVM inside of BCC.
#
#   docker build -t gotax .
#   docker run --pid=host --cap-drop=ALL --cap-add=BPF --cap-add=PERFMON --cap-add=SYS_PTRACE \
#     --cap-add=DAC_READ_SEARCH --read-only --tmpfs=/tmp -v /sys/fs/cgroup:/sys/fs/cgroup:ro gotax selftest

ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY bpf bpf
COPY agent agent
# Compiled ahead, because the root file system is read-only; without pip, which nobody needs there.
RUN python3 -m venv --system-site-packages /opt/gotax \
 && /opt/gotax/bin/pip install --no-cache-dir --no-compile '.[kubernetes,otlp,parca]' \
 && /opt/gotax/bin/pip uninstall -y pip setuptools \
 && find /opt/gotax -name tests -type d -path '*numpy*' -prune -exec rm -rf {} + \
 && python3 -m compileall -q -j 0 /opt/gotax/lib

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-bpfcc tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* \
 && python3 -m compileall -q /usr/lib/python3/dist-packages/bcc
COPY --from=build /opt/gotax /opt/gotax
ENV PATH=/opt/gotax/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="gotax" \
      org.opencontainers.image.description="How much of a Go container's CPU is the Go runtime, and does GOMAXPROCS fit its limit?" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
# Root, because capabilities do not reach another user in Kubernetes; all but a few are dropped there.
USER 0:0
EXPOSE 9745
# tini is PID 1: it forwards signals and reaps the child that compiles the BPF program.
ENTRYPOINT ["/usr/bin/tini", "--", "gotax"]
CMD ["agent"]
