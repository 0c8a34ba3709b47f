#!/bin/sh
# Comes after what this image says of its environment.
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
PS1="Singularity> "
export LD_LIBRARY_PATH PS1
