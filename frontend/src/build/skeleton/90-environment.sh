#!/bin/sh
# The environment of this image: assignments and exports.
