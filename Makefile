# Lamina: `make demo` shows it, `make install` puts it on this machine. packaging/README.md explains the rest.

PREFIX     ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
DESTDIR    ?=
TARGET     ?= $(abspath $(or $(CARGO_TARGET_DIR),target))
export PREFIX SYSCONFDIR DESTDIR TARGET

.PHONY: build demo install uninstall check test bench clean help

build: ## compile the release for PREFIX and SYSCONFDIR
	packaging/build

demo: ## install what is needed, build, install, and show a persistent overlay
	packaging/demo

install: build ## put the release on this machine, or below DESTDIR (as root)
	packaging/install

uninstall: ## remove what install put there; a changed singularity.conf stays
	packaging/uninstall

check: ## format, lints, documentation
	packaging/check

test: ## build, install into a prefix of its own, run every test
	packaging/test

bench: ## the same, but measure starts against a C program that makes the same mounts
	packaging/test bench

clean: ## remove everything that was built
	packaging/build clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 12
