# Each target is a line onto make.py, which also serves where there is no make: python make.py demo
PYTHON ?= python3

.PHONY: setup demo test proof
setup demo test proof:
	@$(PYTHON) make.py $@ $(ARGS)
