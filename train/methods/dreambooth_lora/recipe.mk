# The competition from its pictures to its score: fifteen styles, ten pictures and 25 prompts each.
#
#   make jdiff SRC=DIR STYLES=15 CARDS=1,2,3      DIR holds STYLE/images/NAME.png and STYLE/prompt.json
#   make jdiff SRC=DIR STYLES=1 CONFIG=smoke BACKBONE=DIR CARDS=cpu
#
# Interrupted, the same command goes on where it stopped. STYLES counts from the first, all otherwise.

PYTHON ?= .venv/bin/python
CONFIG ?= safe
NAME   ?= jdiff
EACH   ?= 8
MORE   ?=

METHOD := dreambooth_lora
FLAGS  := $(if $(BACKBONE),--backbone=$(BACKBONE)) $(MORE)
DEVICE := $(if $(filter cpu%,$(CARDS)),cpu,cuda)

.PHONY: all
all:
	@test -n "$(SRC)" || { echo "error: name the folder of the styles, SRC=DIR" >&2; exit 2; }
	$(PYTHON) -m toolkit.pack fewshot --src="$(SRC)" --name=fewshot
	$(PYTHON) -m train.prior --config=$(CONFIG) --main=fewshot --each=$(EACH) --device=$(DEVICE) $(FLAGS)
	$(PYTHON) -m train.sweep $(METHOD) --config=$(CONFIG) --main=fewshot --name=$(NAME) \
	  --mix=main:1,prior:1 $(if $(CARDS),--cards=$(CARDS)) $(if $(STYLES),--styles=$(STYLES)) \
	  --stylize.files=outputs/$(NAME) --then=eval.run,eval.report $(FLAGS)
	$(PYTHON) -m eval.leaderboard
	$(PYTHON) -m eval.score --folder=outputs/$(NAME) --references="$(SRC)" --out=runs/$(NAME)/score.txt
