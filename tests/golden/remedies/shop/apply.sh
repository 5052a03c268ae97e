#!/bin/sh
# Try it first: sh apply.sh --dry-run=server
set -eu
cd "$(dirname "$0")"
kubectl patch -f patches/shop.Deployment.web.yaml --patch-file patches/shop.Deployment.web.yaml "$@"
kubectl patch -f patches/shop.StatefulSet.db.yaml --patch-file patches/shop.StatefulSet.db.yaml "$@"
