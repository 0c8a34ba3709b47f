#!/bin/sh
# Comes before everything else that this image says of its environment.
