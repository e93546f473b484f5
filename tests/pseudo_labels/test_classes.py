"""The mapping of the model's classes."""

import pytest
from detectron2.data import MetadataCatalog

from detr_d2.data.categories import CategoryTable
from detr_d2.pseudo_labels.classes import ModelClass, model_classes, plan_classes
from detr_d2.pseudo_labels.coco_stuff import COCO_STUFF, SUPERCATEGORY, plain_name

CUSTOM = CategoryTable(
    [
        {"id": 1, "name": "wheel loader", "isthing": 1, "color": [1, 2, 3]},
        {"id": 8, "name": "truck", "isthing": 1},
    ]
)
MODEL = [
    ModelClass(0, True, "person", 1, (9, 9, 9)),
    ModelClass(1, True, "truck", 8),
    ModelClass(2, False, "sky-other-merged", 187),
    ModelClass(3, False, "road", 149),
    ModelClass(4, False, "sand", 154),
]


def outcome(plan):
    """Name of what each class of the model becomes, and whether it is a thing."""
    by_id = {c.id: (c.name, c.isthing) for c in plan.table.categories}
    return {plan.names[key]: by_id.get(id_) for key, id_ in plan.model.items()}


def test_names_and_misc():
    plan = plan_classes(CUSTOM, MODEL)
    assert outcome(plan) == {
        "person": ("misc", False),
        "truck": ("misc", False),
        "sky-other-merged": ("sky-other-merged", False),
        "road": ("road", False),
        "sand": ("sand", False),
    }
    assert plan.model[False, 2] == 187  # its own id, since it is free


def test_custom_classes_stay_and_clashing_ones_move():
    plan = plan_classes(CUSTOM, MODEL, things="keep")
    by_id = {c.id: c for c in plan.table.categories}
    assert by_id[1].name == "wheel loader" and by_id[1].color == (1, 2, 3)
    assert by_id[8].name == "truck"
    # Person's id 1 is taken, truck's id and name: both get new ones.
    person, truck = plan.model[True, 0], plan.model[True, 1]
    assert by_id[person].name == "person" and person not in (1, 8)
    assert by_id[truck].name == "truck_2" and by_id[truck].isthing
    assert by_id[person].color == (9, 9, 9)
    assert len(by_id) == 7


def test_contiguous_ids_have_things_first():
    plan = plan_classes(CUSTOM, MODEL, things="keep")
    flags = [c.isthing for c in plan.table.categories]
    assert flags == sorted(flags, reverse=True)


def test_supercategories_and_void():
    plan = plan_classes(CUSTOM, MODEL, stuff="supercategories", things="void")
    assert outcome(plan) == {
        "person": None,
        "truck": None,
        "sky-other-merged": ("sky", False),
        "road": ("ground", False),
        "sand": ("ground", False),
    }
    assert plan.model[False, 3] == plan.model[False, 4]


def test_mapping_goes_first():
    mapping = {"sand": "soil", "road": "soil", "person": None, "*": "other"}
    plan = plan_classes(CUSTOM, MODEL, things="keep", mapping=mapping)
    assert outcome(plan) == {
        "person": None,
        "truck": ("other", False),
        "sky-other-merged": ("other", False),
        "road": ("soil", False),
        "sand": ("soil", False),
    }
    kept = plan_classes(CUSTOM, MODEL, things="keep", mapping={"person": "person"})
    assert outcome(kept)["person"] == ("person", True)


def test_mapping_written_beside_the_data():
    plan = plan_classes(CUSTOM, MODEL[1:3], things="void")
    assert plan.mapping() == [
        {"source": "custom", "source_name": "wheel loader", "source_id": 1, "id": 1}
        | {"name": "wheel loader"},
        {"source": "custom", "source_name": "truck", "source_id": 8, "id": 8, "name": "truck"},
        {"source": "model", "source_name": "truck", "source_id": 8, "id": None, "name": None},
        {"source": "model", "source_name": "sky-other-merged", "source_id": 187, "id": 187}
        | {"name": "sky-other-merged"},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stuff": "all"}, r"stuff 'all', allowed: .*names"),
        ({"things": "no"}, r"things 'no', allowed: .*misc"),
        ({"mapping": {"road": "truck"}}, r"\{'road': 'truck'\}: .* not one of your own classes"),
        ({"mapping": {"road": 5}}, r"mapping: \{'road': 5\}: must be the name of a stuff class"),
        ({"mapping": {"tree": "plant"}}, r"the model has no class \['tree'\]; it has .*person"),
    ],
)
def test_wrong_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_classes(CUSTOM, MODEL, **arguments)


def test_supercategories_of_classes_that_coco_does_not_know():
    unknown = [ModelClass(0, False, "soil"), ModelClass(1, False, "mud")]
    with pytest.raises(ValueError, match=r"stuff classes \['mud', 'soil'\]: COCO has no such"):
        plan_classes(CUSTOM, unknown, stuff="supercategories")
    plan = plan_classes(CUSTOM, unknown, stuff="supercategories", mapping={"*": "ground"})
    assert set(outcome(plan).values()) == {("ground", False)}


def test_coco_stuff_is_the_stuff_that_detectron2_knows():
    names = MetadataCatalog.get("coco_2017_train_panoptic").stuff_classes
    things = set(MetadataCatalog.get("coco_2017_train_panoptic_separated").thing_classes)
    full = {name for members in COCO_STUFF.values() for name in members}
    assert full == set(names) - things
    assert (len(full), len(COCO_STUFF)) == (53, 15)


def test_supercategories_of_the_shorter_names_of_panoptic_fpn():
    names = MetadataCatalog.get("coco_2017_train_panoptic_separated").stuff_classes
    assert [SUPERCATEGORY[name] for name in ("sky", "door-stuff", "water")] == [
        "sky",
        "furniture",
        "water",
    ]
    assert set(names) - {"things"} <= set(SUPERCATEGORY)


def test_classes_of_both_conventions_of_detectron2():
    common = model_classes(["coco_2017_train_panoptic"])
    separated = model_classes(["coco_2017_train_panoptic_separated"])
    assert len(common) == len(separated) == 133
    assert {plain_name(c.name) for c in common} == {c.name for c in separated}
    road = {c.name: c for c in common}["road"], {c.name: c for c in separated}["road"]
    # The common list counts on behind the 80 things, the separated one begins with "things".
    assert road[0].index == 80 + 20 and road[1].index == 21


def test_things_and_stuff_have_each_their_own_colours_and_names():
    """A list that is too short, as Detectron2's for COCO, gives none for the rest."""
    metadata = MetadataCatalog.get("test_two_lists").set(
        thing_classes=["things", "crane"],
        thing_colors=[[1, 2, 3], [4, 5, 6]],
        thing_dataset_id_to_contiguous_id={70: 0, 3: 1},
        stuff_classes=["things", "mud", "things"],
        stuff_colors=[[9, 9, 9], [7, 8, 9]],
        stuff_dataset_id_to_contiguous_id={0: 0, 12: 1, 5: 2},
    )
    try:
        assert model_classes(["absent", metadata.name]) == [
            ModelClass(0, True, "things", 70, (1, 2, 3)),
            ModelClass(1, True, "crane", 3, (4, 5, 6)),
            ModelClass(1, False, "mud", 12, (7, 8, 9)),
            # Only at the head of the list it stands for all things.
            ModelClass(2, False, "things", 5, None),
        ]
    finally:
        for name in ("absent", metadata.name):
            if name in MetadataCatalog.list():
                MetadataCatalog.remove(name)


def test_a_class_made_of_several_has_no_colour_of_one_of_them():
    model = [ModelClass(0, True, "person", 1, (9, 9, 9)), ModelClass(1, False, "mud", 4, (8, 7, 6))]
    plan = plan_classes(CUSTOM, model, mapping={"person": "other"})
    by_name = {c.name: c for c in plan.table.categories}
    assert by_name["mud"].color == (8, 7, 6) and by_name["other"].color != (9, 9, 9)


def test_unknown_model():
    with pytest.raises(ValueError, match=r"none of \['nowhere'\] .* is registered"):
        model_classes(["nowhere"])
