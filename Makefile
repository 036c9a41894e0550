# Each target is a line onto make.py, which also serves where there is no make: python make.py demo
PYTHON ?= python3

.PHONY: setup demo test
setup demo test:
	@$(PYTHON) make.py $@ $(ARGS)
