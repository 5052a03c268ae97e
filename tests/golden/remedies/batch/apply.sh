#!/bin/sh
# Try it first: sh apply.sh --dry-run=server
set -eu
cd "$(dirname "$0")"
kubectl patch -f patches/batch.CronJob.nightly.yaml --patch-file patches/batch.CronJob.nightly.yaml "$@"
