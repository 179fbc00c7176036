#!/bin/sh
# Build, test and push a model: the steps of github.yml and gitlab.yml, runnable anywhere.
#
#   MODEL              model folder with an installml.yaml
#   REFERENCE          where it goes, such as registry.example.org/acme/digits:1.0.0
#   REGISTRY           the registry's host, such as registry.example.org
#   REGISTRY_USER      account that may push
#   REGISTRY_PASSWORD  its password or token; goes through a pipe, never on a command line
set -eu
printf '%s' "$REGISTRY_PASSWORD" | installml login "$REGISTRY" --username "$REGISTRY_USER" --password-stdin
trap 'installml logout "$REGISTRY"' EXIT
installml build "$MODEL" -t "$REFERENCE"
installml test "$MODEL"
# A step that signs the package, once installml can sign, belongs between test and push.
installml push "$REFERENCE"
