#!/bin/sh
# The environment of the app that is asked for with --app.

if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    SCIF_APPNAME="$SINGULARITY_APPNAME"
    SCIF_APPS=/scif/apps
    SCIF_DATA=/scif/data
    SCIF_APPROOT="/scif/apps/$SINGULARITY_APPNAME"
    SCIF_APPDATA="/scif/data/$SINGULARITY_APPNAME"
    export SCIF_APPNAME SCIF_APPS SCIF_DATA SCIF_APPROOT SCIF_APPDATA
    PATH="$SCIF_APPROOT/bin:$SCIF_APPROOT:$PATH"
    LD_LIBRARY_PATH="$SCIF_APPROOT/lib:${LD_LIBRARY_PATH:-}"
    export PATH LD_LIBRARY_PATH
    if [ -f "$SCIF_APPROOT/scif/env/01-base.sh" ]; then
        . "$SCIF_APPROOT/scif/env/01-base.sh"
    fi
    if [ -f "$SCIF_APPROOT/scif/env/90-environment.sh" ]; then
        . "$SCIF_APPROOT/scif/env/90-environment.sh"
    fi
fi
