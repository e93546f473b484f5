"""Config keys that detr_d2 adds to Detectron2's; defaults are DETR R-50 (arXiv:2005.12872)."""

from detectron2.config import CfgNode


def add_detr_config(cfg: CfgNode) -> None:
    """Add detr_d2's keys to a fresh Detectron2 config, in place.

    Raises:
        ValueError: the keys are there already; a second call would silently reset their values.
    """
    if "DETR" in cfg.MODEL:
        raise ValueError("add_detr_config: cfg.MODEL.DETR exists already; call it once per config")
    cfg.MODEL.DETR = detr = CfgNode()
    _add_class_and_query_keys(detr)
    _add_transformer_keys(detr)
    _add_loss_keys(detr)
    _add_loading_keys(detr)
    _add_computation_keys(detr)
    _add_mask_keys(detr)
    _add_output_keys(detr)
    _add_training_keys(cfg)


def _add_class_and_query_keys(detr: CfgNode) -> None:
    # Number of classes K, things and stuff together; 0 takes it from the data set's metadata.
    # The "no object" class is added by the model and never counted here.
    detr.NUM_CLASSES = 0
    # Which of them are things, by contiguous id. None takes the data set's metadata, and without
    # these all. A training writes both keys into its config.yaml, so that the file is enough to
    # build the model.
    detr.THING_IDS = None
    # Largest number of segments the model can find in one image.
    detr.NUM_QUERIES = 100
    # Groups of queries that learn side by side (Group DETR, arXiv:2207.13085): each is matched on
    # its own, so every object teaches that many queries and small data converge sooner. Only the
    # first group is used at inference. 1 = plain DETR.
    detr.QUERY_GROUPS = 1
    # Give each query a learned point of the image, at which it looks first and to which its box is
    # relative (Conditional DETR, arXiv:2108.06152): learns sooner from scratch. The published
    # weights have none.
    detr.REFERENCE_POINTS = False


def _add_transformer_keys(detr: CfgNode) -> None:
    # Channels d, heads, width of the feed-forward layers, layers, dropout probability.
    # d is a multiple of 4 (position encoding), of NHEADS and, for masks, of BBOX_ATTENTION.NHEADS
    # and of 2 ** (number of MASK_HEAD.IN_FEATURES + 1), 16 by default, since the FPN mask head
    # halves it at each level.
    detr.HIDDEN_DIM = 256
    detr.NHEADS = 8
    detr.DIM_FEEDFORWARD = 2048
    detr.ENC_LAYERS = 6
    detr.DEC_LAYERS = 6
    detr.DROPOUT = 0.1
    # Ratio of the longest to the shortest wave of the position encoding. The published weights
    # have 10000; 20 tells neighbouring cells apart better and learns faster from scratch.
    detr.POSITION_TEMPERATURE = 10000.0
    # Normalise before each sub-layer instead of after it: learns faster from scratch;
    # the published weights are post-norm.
    detr.PRE_NORM = False


def _add_loss_keys(detr: CfgNode) -> None:
    # Weights of the losses; 0 switches a loss off. A class or box loss is then not computed, nor
    # are masks where both of their losses are off.
    detr.CLASS_WEIGHT = 1.0
    detr.L1_WEIGHT = 5.0
    detr.GIOU_WEIGHT = 2.0
    # Weight of "no object" inside the class loss, since most queries find nothing.
    detr.NO_OBJECT_WEIGHT = 0.1
    # Class and box losses after every decoder layer, not only the last.
    detr.DEEP_SUPERVISION = True
    # Costs of the Hungarian matching.
    detr.COST_CLASS = 1.0
    detr.COST_L1 = 5.0
    detr.COST_GIOU = 2.0


def _add_loading_keys(detr: CfgNode) -> None:
    # What a training takes of the MODEL.WEIGHTS it starts from; all else that fits is taken, and
    # evaluation and --resume take everything.
    detr.LOAD = CfgNode()
    # Rows of the classifier: "by_name" keeps those of classes that have the same name in the
    # weights (without names: all, if their number is the same); "in_order" takes row i to row i;
    # "none" starts the classifier afresh.
    detr.LOAD.CLASS_ROWS = "by_name"
    # Pairs (name in the weights, name here) of classes that are called otherwise here.
    detr.LOAD.RENAMED_CLASSES = []
    # The MLP that predicts boxes; False starts it afresh.
    detr.LOAD.BOX_HEAD = True


def _add_computation_keys(detr: CfgNode) -> None:
    # Fold frozen batch norms into the convolutions as they run: equal but for rounding, weights and
    # checkpoints stay as they are; False computes them apart.
    detr.FOLD_FROZEN_NORMS = True
    # Infer in bfloat16 (autocast): faster on GPUs and on processors with bfloat16 instructions
    # (lscpu: amx_bf16 or avx512_bf16), half as fast on others; masks differ by a few pixels at
    # their borders. Training has SOLVER.AMP.
    detr.BF16_INFERENCE = False

    # Set what lies beyond each image of a padded batch to zero after every convolution, and let the
    # mask head see each image's own cells: an image then gives the same alone and in any batch,
    # also in training. False as published: what is learnt from padding is missing at evaluation,
    # where images of one size run together. Batch norms count the images' own cells alone.
    detr.ERASE_PADDING = False


def _add_mask_keys(detr: CfgNode) -> None:
    # Freeze DETR (evaluation mode, no gradient): only bbox attention and mask head learn.
    detr.FREEZE = False
    detr.FOCAL_WEIGHT = 1.0
    detr.DICE_WEIGHT = 1.0
    # Train masks only of matched queries whose class score is above this; 0.0 takes all.
    detr.MASK_TRAIN_SCORE_THRESH = 0.0

    # Name in BBOX_ATTENTION_REGISTRY.
    detr.BBOX_ATTENTION = CfgNode()
    detr.BBOX_ATTENTION.NAME = "BBoxAttention"
    # Number of attention maps per query, M.
    detr.BBOX_ATTENTION.NHEADS = 8
    # "joint": softmax over heads and pixels together, as the published weights were trained;
    # "per_head": over the pixels of each head.
    detr.BBOX_ATTENTION.NORMALIZE = "joint"

    # Name in MASK_HEAD_REGISTRY, and the backbone features it adds, coarse to fine.
    detr.MASK_HEAD = CfgNode()
    detr.MASK_HEAD.NAME = "FPNMaskHead"
    detr.MASK_HEAD.IN_FEATURES = ["res4", "res3", "res2"]


def _add_output_keys(detr: CfgNode) -> None:
    # Switches of the outputs. PANOPTIC_ON and SEM_SEG_ON need the mask head of PanopticDetr.
    detr.INSTANCE_ON = True
    # Thing queries above this score become `instances`. Average precision counts all
    # queries (0.0); a mask costs time, so that panoptic configs set SCORE_THRESH's value.
    detr.INSTANCE_SCORE_THRESH = 0.0

    detr.PANOPTIC_ON = True
    # sem_seg takes all queries, whatever their scores, so that the mask head runs on all of them.
    detr.SEM_SEG_ON = False
    # Queries at or below this score take no part in the panoptic map; sem_seg does not look at it.
    detr.SCORE_THRESH = 0.85
    # Of two things of one class whose boxes overlap by more (IoU), the one with the lower score
    # takes no part in the panoptic map. 1.0 keeps all, as published; about 0.5 where a model
    # trained on few images finds objects twice.
    detr.DUPLICATE_IOU = 1.0
    # Segments of fewer pixels are dropped and their pixels given to the next best segment.
    # 5 is the published rule "drop areas of 4 pixels and less".
    detr.MIN_AREA = 5

    # Our corrections of the published post-processing; the second value is what was published.
    detr.POSTPROCESS = CfgNode()
    # True: nothing of the padding gets into a mask, and the batch changes no result. False: the
    # images of a batch are padded to one size, and masks are squeezed from it to the output size.
    detr.POSTPROCESS.CROP_PADDING = True
    # "after_filtering": segments of one stuff class are united when the small ones are gone;
    # "before_filtering": at first, which is lost again as soon as any segment is dropped.
    detr.POSTPROCESS.UNITE_STUFF = "after_filtering"
    # "masks": mask logits are brought to the size of the original image, and compared there; "ids":
    # they are compared at the size of the network's image, and the map of ids is enlarged.
    detr.POSTPROCESS.RESIZE = "masks"


def _add_training_keys(cfg: CfgNode) -> None:
    # Decides every random number of a training: the same SEED gives the same weights. A negative
    # one is replaced by a random number, which the log names.
    cfg.SEED = 1

    # DETR's crop: with probability 0.5 resize the shorter side to one of RESIZE, cut a region
    # with sides drawn from SIZE (pixels), then resize as without a crop.
    cfg.INPUT.CROP.RESIZE = [400, 500, 600]

    # "ADAMW" or "SGD".
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Learning rate of the backbone relative to BASE_LR.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    # Micro-batches per step: IMS_PER_BATCH stays the batch of one optimizer step and is cut
    # into this many parts, which run one after the other.
    cfg.SOLVER.ACCUMULATE = 1
    # Steps in a row that may be skipped because their gradient is not finite; then training stops.
    cfg.SOLVER.MAX_SKIPPED_STEPS = 20
    # Exponential moving average of the weights, used in evaluation and saved as model_ema.pth.
    cfg.SOLVER.EMA = CfgNode()
    cfg.SOLVER.EMA.ENABLED = False
    cfg.SOLVER.EMA.DECAY = 0.9998

    # Images per process and step at evaluation. Results do not depend on it (but see
    # MODEL.DETR.POSTPROCESS.CROP_PADDING).
    cfg.TEST.IMS_PER_BATCH = 1
    # What to measure: any of "panoptic", "box", "mask", "semantic".
    cfg.TEST.EVALUATORS = ["box"]
    # Number of pictures (image, ground truth, prediction) sent to TensorBoard at each evaluation.
    cfg.TEST.VISUALIZE = 0
    # What decides which evaluation was the best, whose weights are kept as model_best.pth: the
    # first of these figures of evaluation.json that is measured; [] keeps none.
    cfg.TEST.BEST_BY = ["PQ", "box_AP"]
    # Images of the first test set on which the losses are measured at each evaluation, too.
    cfg.TEST.LOSS_IMAGES = 0
