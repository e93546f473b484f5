"""The supercategories of COCO's stuff classes."""

# Source: the `supercategory` of panoptic_coco_categories.json of the COCO panoptic task, without
# its ending "-stuff".
COCO_STUFF: dict[str, tuple[str, ...]] = {
    "water": ("river", "sea", "water-other"),
    "ground": (
        *("gravel", "platform", "playingfield", "railroad", "road", "sand", "snow"),
        *("pavement-merged", "dirt-merged"),
    ),
    "solid": ("mountain-merged", "rock-merged"),
    "sky": ("sky-other-merged",),
    "plant": ("flower", "tree-merged", "grass-merged"),
    "structural": ("net", "fence-merged"),
    "building": ("bridge", "house", "roof", "tent", "building-other-merged"),
    "food": ("fruit", "food-other-merged"),
    "textile": ("banner", "blanket", "curtain", "pillow", "towel", "rug-merged"),
    "furniture": (
        *("counter", "door-stuff", "light", "mirror-stuff", "shelf", "stairs"),
        *("cabinet-merged", "table-merged"),
    ),
    "window": ("window-blind", "window-other"),
    "floor": ("floor-wood", "floor-other-merged"),
    "ceiling": ("ceiling-merged",),
    "wall": ("wall-brick", "wall-stone", "wall-tile", "wall-wood", "wall-other-merged"),
    "raw-material": ("cardboard", "paper-merged"),
}


def plain_name(name: str) -> str:
    """A name as Detectron2's separated stuff lists have it: "sky" of "sky-other-merged"."""
    for ending in ("-other", "-merged"):
        name = name.replace(ending, "")
    return name


# Under both names.
SUPERCATEGORY = {
    name: group
    for group, members in COCO_STUFF.items()
    for member in members
    for name in (member, plain_name(member))
}
