# style_adapter from raw data to scores (source A, section 10), each stage a process that ends.
#
#   make recipe-style-adapter WIKIART=DIR COCO=DIR FILL50K=DIR     on a GPU of 24 GB
#   make recipe-style-adapter LIMIT=24                             a rehearsal: sample data, on a CPU
#
# Interrupted, the same command goes on: a finished stage has its mark under runs/.recipe, and the
# command of an unfinished one resumes. Targets, and so the runs, come in three sizes; each run begins
# with the weights of the one before.

PYTHON ?= .venv/bin/python

ifdef LIMIT
WORK     := rehearsal/$(LIMIT)
SIZES    := $(LIMIT) $(shell expr 2 \* $(LIMIT)) $(shell expr 4 \* $(LIMIT))
VAL      := 8
PAINTED  := --balance=style
PROTOCOL := reinhard
OWN      := $(dir $(lastword $(MAKEFILE_LIST)))weights/tiny
VAE      := $(OWN)/vae
TEXT     := $(OWN)/text_encoder
CLIP     := $(OWN)/clip
SIZE     := 64
CONFIG   := tiny
TRAIN    := --stored=true --steps=20 --save_interval=10 --sample_every=0
CONTENTS := content
else
WORK     := .
SIZES    := 10000 50000 200000
VAL      := 500
PAINTED  := --balance=style,artist --content_where="dataset='coco'"
PROTOCOL := a-fixed
VAE      := PixArt-alpha/PixArt-XL-2-512x512/vae
TEXT     := PixArt-alpha/PixArt-XL-2-512x512
CLIP     := laion/CLIP-ViT-H-14-laion2B-s32B-b79K
SIZE     := 512
CONFIG   := 3090
TRAIN    := --device=cuda
CONTENTS := coco
endif

DATA  := --shards=$(WORK)/shards --manifests=$(WORK)/manifests
PAIRS := $(WORK)/manifests/pairs/recipe
RUNS  := $(WORK)/runs
MARKS := $(RUNS)/.recipe
RUN    = $(RUNS)/recipe-$*

.PHONY: all
.SECONDARY:
all: $(SIZES:%=$(MARKS)/scores-%)

$(MARKS)/packed:
ifdef LIMIT
	$(PYTHON) -m toolkit.pack $(DATA)
else
	@test -n "$(WIKIART)" -a -n "$(COCO)" -a -n "$(FILL50K)" || { echo \
	  "error: name the folders of the data, WIKIART=DIR COCO=DIR FILL50K=DIR, or rehearse with LIMIT=24" >&2; exit 2; }
	$(PYTHON) -m toolkit.pack wikiart --src="$(WIKIART)" $(DATA)
	$(PYTHON) -m toolkit.pack coco --src="$(COCO)" $(DATA)
	$(PYTHON) -m toolkit.pack fill50k --src="$(FILL50K)" $(DATA)
endif
	@mkdir -p $(@D) && touch $@

$(MARKS)/pairs-val: $(MARKS)/packed
	$(PYTHON) -m toolkit.pairs --num_pairs=$(VAL) --split=val $(PAINTED) --out=$(PAIRS)-val $(DATA)
	@touch $@

$(MARKS)/pairs-%: $(MARKS)/packed
	$(PYTHON) -m toolkit.pairs --num_pairs=$* $(PAINTED) --out=$(PAIRS)-$* $(DATA)
	@touch $@

# What was made for a smaller plan stays, so the sizes have to come one after the other.
$(MARKS)/targets-%: $(MARKS)/pairs-val $(MARKS)/pairs-%
	$(PYTHON) -m toolkit.teach --protocol=$(PROTOCOL) --name=targets --plan=$(PAIRS)-val,$(PAIRS)-$* $(DATA)
	@touch $@

$(MARKS)/encoded-%: $(MARKS)/targets-%
	$(PYTHON) -m toolkit.encode "dataset in ('targets', '$(CONTENTS)', 'fill50k')" \
	  --encoder=autoencoder_kl --weights=$(VAE) --target_size=$(SIZE) --sidecar=latents $(DATA)
	$(PYTHON) -m toolkit.encode "dataset in ('$(CONTENTS)', 'wikiart', 'fill50k')" \
	  --encoder=clip_image --weights=$(CLIP) --sidecar=clip_image $(DATA)
	$(PYTHON) -m toolkit.encode "dataset in ('targets', 'fill50k')" \
	  --encoder=t5 --weights=$(TEXT) --sidecar=t5 $(DATA)
	@touch $@

$(MARKS)/trained-%: $(MARKS)/encoded-%
	$(PYTHON) -m train.run style_adapter --config=$(CONFIG) --main=targets --name=recipe-$* --runs=$(RUNS) \
	  $(if $(wildcard $(RUN)/checkpoints/*),--resume,--overwrite $(TRAIN) $(call smaller,$*)) $(DATA)
	@touch $@

$(MARKS)/scores-%: $(MARKS)/trained-%
	$(PYTHON) -m train.stylize --run=$(RUN) $(DATA)
	$(PYTHON) -m eval.run --run=$(RUN) $(DATA)
	$(PYTHON) -m eval.report --run=$(RUN) $(DATA)
	@touch $@

# The weights of the next smaller size: --init_from=…; nothing for the smallest.
smaller = $(call before,$1,$(SIZES))
before  = $(if $(filter $1,$(word 2,$2)),--init_from=$(RUNS)/recipe-$(word 1,$2),$(if $(word 3,$2),$(call before,$1,$(wordlist 2,9,$2))))

define after
$(MARKS)/pairs-$(word 2,$1): $(MARKS)/scores-$(word 1,$1)
endef
$(eval $(call after,$(wordlist 1,2,$(SIZES))))
$(eval $(call after,$(wordlist 2,3,$(SIZES))))
