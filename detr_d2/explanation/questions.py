"""Questions and misunderstandings about the model, with short answers: one text for page and guide.

`seen` texts have {placeholders} for facts of a recorded pass (`facts.measure`). Where a model lacks
one of these, because its mask head is another, the sentence or the whole misunderstanding is left
away.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A question that readers have.

    Attributes:
        id: short name.
        stops: ids of the stops that show the answer, the main one first.
        title: the question.
        answer: holds for every model, but for the stride of 32; see `stops.at_stride`.
        seen: the same in numbers of a pass; may be empty.
    """

    id: str
    stops: tuple[str, ...]
    title: str
    answer: str
    seen: str = ""


@dataclass(frozen=True)
class Misunderstanding:
    """A claim that is often heard, and wrong.

    Attributes:
        id: short name.
        stop: id of the stop whose tensor refutes it.
        said: the claim.
        fact: what is so instead.
        seen: the refutation in numbers of a pass.
    """

    id: str
    stop: str
    said: str
    fact: str
    seen: str


QUESTIONS = (
    Question(
        "encoded_image",
        ("encoded", "res5", "projected"),
        "Where does the d x H/32 x W/32 encoded image come from?",
        "From the transformer encoder. The ResNet's last stage, Res5, has 2048 channels (in "
        "ResNet-50; a narrower one has fewer); a 1 x 1 convolution makes d of them. In every "
        "encoder layer each of the H/32 x W/32 cells then gathers from all cells by "
        "self-attention. What comes out has the shape of what went in, and is the encoded image.",
        "Here Res5 of {res5_shape} becomes {projected_shape}, and {encoder_layers} encoder layers "
        "change it: the difference between output and input is {encoder_change:.1f} times as long "
        "as the input.",
    ),
    Question(
        "box_embeddings",
        ("embeddings", "queries"),
        "What are the d x N box embeddings, and where do they come from?",
        "They are the output of the transformer decoder: one vector of d numbers for each of the N "
        "queries. In every decoder layer a query first looks at the other queries "
        "(self-attention), "
        "then at the encoded image (cross-attention). Class, box and mask of a query are all "
        "predicted from its one embedding.",
        "Here {queries} queries give {embeddings_shape} numbers; {above_threshold} of them score "
        "above {score_thresh:.2f}.",
    ),
    Question(
        "attention_maps",
        ("bbox_attention",),
        "What happens to make the N x M x H/32 x W/32 maps?",
        "Each box embedding is compared with every cell of the encoded image, in M heads: both go "
        "through a linear layer, the d/M numbers of a head are multiplied and added up, divided by "
        "the square root of d/M, and softmax makes weights of them. There is no value projection: "
        "the weights themselves are the maps.",
        "Here {bbox_attention_shape}. With `NORMALIZE: {normalize}` the weights of one query "
        "add up "
        "to {joint_sum:.2f} over all heads and cells.",
    ),
    Question(
        "concatenation",
        ("concat", "res5"),
        "What are they concatenated with, and where does Res5 come from?",
        "With the projected image: d channels that a 1 x 1 convolution makes of Res5, the last "
        "stage of the ResNet, before the transformer. These d channels are the same for all "
        "queries "
        "of an image; the M maps are each query's own. Together d + M channels.",
        "Here {d} + {maps} = {concat_channels} channels of {cells} cells for each query.",
    ),
    Question(
        "fpn",
        ("fpn", "res4", "res3", "res2"),
        "Where do Res4, Res3, Res2 come from, and what does the FPN-style CNN do, step by step?",
        "They are the earlier stages of the same ResNet, at H/16, H/8 and H/4. Two 3 x 3 "
        "convolutions run at H/32; then three times the map is enlarged to the size of the next "
        "finer stage, that stage, brought to as many channels by a 1 x 1 convolution, is added, "
        "and a 3 x 3 convolution halves the channels. A last convolution leaves one channel at "
        "H/4 x W/4. GroupNorm and ReLU follow each convolution but the last.",
        "Here the channels go {stage_channels}, the sizes {stage_sizes}.",
    ),
    Question(
        "merge",
        ("merge", "masks", "panoptic"),
        "How do N mask logits at H/4 x W/4 become one panoptic map?",
        'Queries whose best class beats "no object" and scores above the threshold compete, but '
        "for duplicates where `DUPLICATE_IOU` is below 1. Their logits are enlarged to the size of "
        "the image, and at every pixel the largest one wins (argmax). Segments with too few pixels "
        "are dropped and argmax is repeated without them. Then the segments of one stuff class are "
        "united.",
        "Here {above_threshold} queries compete, {dropped} are dropped, {segments} segments "
        "remain.",
    ),
    Question(
        "training",
        (),
        "How is it trained: in which stages, with which losses, and which queries take part?",
        "First boxes, of things and stuff alike: Hungarian matching gives every object of the "
        'ground truth one query, the other queries learn to say "no object", and cross-entropy, '
        "L1 and generalized IoU are minimised after every decoder layer. As published this "
        "takes 300 epochs or more. Then all of that is frozen, and bbox attention and mask head "
        "alone learn for 25 epochs, with focal and dice loss. Only queries matched to an object "
        "take part, one mask each; `MASK_TRAIN_SCORE_THRESH` (0 unless set) can demand a score "
        "as well. The threshold of 0.85 is one of inference.",
    ),
    Question(
        "own_data",
        (),
        "How are custom masks turned into boxes and records, and stuff labelled by a pretrained "
        "model without leaks?",
        "Masks of any annotation format become one map of segment ids for each image, in which "
        "every pixel has one id; where masks overlap, the smaller lies on top unless told "
        "otherwise. With a list of segments and their classes that is one record, what the data "
        "loader reads. The box of a segment is measured from its mask, again after every "
        "augmentation. Where only things have masks, a pretrained model labels the stuff: "
        "custom masks always win. A predicted thing of which more than a fifth lies under a "
        "custom mask is taken for the custom object and removed as a whole, or else what sticks "
        "out around the mask would be labelled wrongly: that is a leak. Its pixels get the "
        "nearest stuff.",
    ),
)

MISUNDERSTANDINGS = (
    Misunderstanding(
        "encoded_is_cnn",
        "encoded",
        "The encoded image is the output of the CNN.",
        "It is the output of the transformer encoder; the CNN's output is its input.",
        "In this pass the two have a cosine similarity of {encoder_cosine:.2f} on average, and "
        "their "
        "difference is {encoder_change:.1f} times as long as the input.",
    ),
    Misunderstanding(
        "embeddings_are_boxes",
        "embeddings",
        "Box embeddings are boxes.",
        "They are d-vectors, the decoder's output, from which class and box are predicted.",
        "Here one has {d} numbers, a box has 4.",
    ),
    Misunderstanding(
        "attention_values",
        "bbox_attention",
        "The attention module returns weighted values.",
        "It returns the softmax weights alone; there is no value projection.",
        "Its only parameters are {attention_parameters}, and what it returns lies between 0 and "
        "{attention_max:.3g}.",
    ),
    Misunderstanding(
        "softmax_per_head",
        "bbox_attention",
        "Softmax is over the pixels of each head.",
        "The published code normalises over heads and pixels together, so that all M maps of a "
        "query "
        "add up to 1; `NORMALIZE: per_head` is our alternative.",
        "This model has `{normalize}`: the heads of one query add up to {head_sums}, together "
        "{joint_sum:.2f}.",
    ),
    Misunderstanding(
        "res5_concatenated",
        "concat",
        "The 2048 channels of Res5 are concatenated.",
        "Its 1 x 1 projection of d channels is.",
        "The first convolution takes {concat_channels} = {d} + {maps} channels, not "
        "{res5_channels} + "
        "{maps}.",
    ),
    Misunderstanding(
        "unet",
        "fpn",
        "Res4, Res3 and Res2 are concatenated, as in a U-Net.",
        "They are projected by 1 x 1 convolutions and added.",
        "After the additions there are {added_channels} channels, as before them; "
        "concatenation would "
        "give {concatenated_channels}.",
    ),
    Misunderstanding(
        "output_channels",
        "masks",
        "The last convolution has N output channels.",
        "It has one; the queries are the batch.",
        "Here its weight is {last_weight_shape}: {last_channels} output channel, run for "
        "{candidates} queries.",
    ),
    Misunderstanding(
        "res5_size",
        "res5",
        "Res5 is 2048 x 7 x 7.",
        "It is H/32 x W/32, whatever the image's size; 7 x 7 is ImageNet's crop of 224 pixels.",
        "Here the image has {network_size} pixels and Res5 {res5_shape}.",
    ),
    Misunderstanding(
        "thresholded",
        "merge",
        "Masks are thresholded and pasted over one another.",
        "Logits compete by argmax at every pixel; small segments are dropped and their pixels "
        "reassigned.",
        "Above 0 are two or more masks at {overlap_share:.1%} of the pixels and none at "
        "{uncovered_share:.1%}; argmax still gives each pixel one segment. {reassigned_pixels} "
        "pixels "
        "changed hands when small segments were dropped.",
    ),
)


def fill(template: str, facts: Mapping[str, Any]) -> str:
    """Put facts into a text; "" if a fact is missing."""
    names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    return template.format(**facts) if names <= facts.keys() else ""
