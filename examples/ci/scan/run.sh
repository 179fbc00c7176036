#!/bin/sh
# Scan a model folder: the step of github.yml and gitlab.yml, runnable anywhere. Exit 4 when the gate blocks.
#
#   MODEL         model folder
#   REPORT        SARIF file to write
#   SUPPRESSIONS  TOML file of findings that somebody answers for
set -eu
installml scan "$MODEL" --suppressions "$SUPPRESSIONS" --block never --format sarif > "$REPORT"
installml scan "$MODEL" --suppressions "$SUPPRESSIONS"
