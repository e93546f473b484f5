import pytest
from detectron2.data import MetadataCatalog

from detr_d2.data.categories import CategoryTable, check_same_classes


def entry(category_id, name, isthing, **more):
    return {"id": category_id, "name": name, "isthing": isthing, **more}


MIXED = [
    entry(40, "soil", 0, color=[130, 90, 50]),
    entry(9, "brick", 1, color=[0, 0, 0], supercategory="material"),
    entry(5, "sky", 0),
    entry(2, "pipe", 1),
]


def test_things_come_first_each_group_in_order_of_id():
    table = CategoryTable(MIXED)

    assert [c.name for c in table.categories] == ["pipe", "brick", "sky", "soil"]
    assert table.contiguous_ids == {2: 0, 9: 1, 5: 2, 40: 3}
    assert len(table) == 4


def test_metadata_has_full_class_lists_and_split_id_maps():
    metadata = CategoryTable(MIXED).metadata()

    assert metadata["thing_classes"] == metadata["stuff_classes"]
    assert metadata["thing_classes"] == ["pipe", "brick", "sky", "soil"]
    assert metadata["thing_dataset_id_to_contiguous_id"] == {2: 0, 9: 1}
    assert metadata["stuff_dataset_id_to_contiguous_id"] == {5: 2, 40: 3}
    assert metadata["thing_colors"] == metadata["stuff_colors"]
    assert metadata["thing_colors"][1] == [0, 0, 0]
    assert metadata["thing_colors"][3] == [130, 90, 50]
    assert metadata["ignore_label"] == 255
    assert metadata["label_divisor"] == 1000


def test_colours_that_are_not_given_are_made_and_differ():
    table = CategoryTable([entry(i, f"c{i}", i % 2) for i in range(60)])

    colors = {c.color for c in table.categories}

    assert len(colors) == 60
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_json_form_makes_the_same_table():
    table = CategoryTable(MIXED)

    assert CategoryTable(table.to_json()) == table
    assert CategoryTable(MIXED[:3]) != table


def test_only_things_or_only_stuff_is_a_table_too():
    assert CategoryTable(MIXED[1:2]).metadata()["stuff_dataset_id_to_contiguous_id"] == {}
    assert CategoryTable(MIXED[:1]).metadata()["thing_dataset_id_to_contiguous_id"] == {}


def test_all_faults_are_told_at_once_with_the_source():
    wrong = [
        entry(-1, "a", 1),
        entry("7", "b", 1),
        entry(3, "", 1),
        entry(4, "d", 2),
        entry(5, "e", 0, color=[1, 2, 256]),
        entry(6, "f", 0),
        entry(6, "g", 0),
        entry(7, "h", 0, color=[1, 2, 3, 4]),
        entry(8, "i", 0, color=[1, 2]),
    ]

    with pytest.raises(ValueError, match=r"my\.json") as caught:
        CategoryTable(wrong, "my.json")

    text = str(caught.value)
    for part in ("id -1", "id '7'", "name ''", "isthing 2", "[1, 2, 256]", "id 6 occurs"):
        assert part in text
    assert "[1, 2, 3, 4], must be three integers" in text and "[1, 2], must be" in text


def test_an_empty_list_is_rejected():
    with pytest.raises(ValueError, match="empty"):
        CategoryTable([])


@pytest.fixture
def catalog():
    names = []

    def register(name, *categories):
        MetadataCatalog.get(name).set(**CategoryTable(categories).metadata())
        names.append(name)
        return name

    yield register
    for name in names:
        MetadataCatalog.remove(name)


def test_sets_with_the_same_classes_pass(catalog):
    both = [entry(1, "car", 1), entry(2, "road", 0)]
    check_same_classes([catalog("one", *both), catalog("two", *both[::-1])])
    # A set of boxes knows nothing of stuff.
    MetadataCatalog.get("boxes").set(
        thing_classes=["car"], thing_dataset_id_to_contiguous_id={1: 0}
    )
    check_same_classes(["one", "boxes", "a set without metadata"])
    MetadataCatalog.remove("boxes")
    MetadataCatalog.remove("a set without metadata")


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ([entry(1, "bus", 1), entry(2, "road", 0)], "thing 1: index 0 'bus' in two"),
        ([entry(1, "car", 1), entry(2, "road", 1)], "thing 2: index 1 'road' in two"),
        ([entry(0, "bus", 1), entry(1, "car", 1), entry(2, "road", 0)], "index 1 'car' in two"),
        ([entry(1, "car", 1), entry(3, "road", 0)], "stuff 3: index 1 'road' in two"),
    ],
    ids=["name", "kind", "one more", "id"],
)
def test_sets_with_other_classes_are_rejected(catalog, other, named):
    catalog("one", entry(1, "car", 1), entry(2, "road", 0))
    catalog("two", *other)
    with pytest.raises(ValueError, match="'one' and 'two' have different classes") as caught:
        check_same_classes(["one", "two"])
    assert named in str(caught.value)


def test_ids_and_colours_at_their_limits():
    table = CategoryTable(
        [entry(0, "void", 0, color=[0, 0, 0]), entry(2, "a", 1, color=(255, 0, 255))]
    )
    assert table.thing_flags() == {0: False, 2: True}
    assert [c.color for c in table.categories] == [(255, 0, 255), (0, 0, 0)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (7, r"entry 1 is 7, must be an object"),
        ([1, "a", 1], r"entry 1 is \[1, 'a', 1\], must be an object"),
        (entry(True, "a", 1), "id True, must be an integer from 0"),
        ({"name": "a", "isthing": 1}, r"entry 1 \(a\): id None"),
        ({"id": 3, "isthing": 1}, r"entry 1 \(without a name\): name None"),
        ({"id": 3, "name": "a"}, "isthing None, must be 0 or 1"),
        (entry(3, "a", 1, color=[1.0, 2, 3]), "color .* must be three integers"),
        (entry(3, "a", 1, color=[-1, 2, 3]), "color .* must be three integers"),
        (entry(3, "a", 1, color="red"), "color 'red', must be three integers"),
        (entry(9, "a", 1), "id 9 occurs more than once"),
    ],
)
def test_one_fault_of_an_entry(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        CategoryTable([entry(9, "brick", 1), wrong])
    assert len(str(caught.value).splitlines()) == 2


def test_a_table_is_written_with_all_that_it_knows():
    assert CategoryTable(MIXED).to_json()[1] == {
        "id": 9, "name": "brick", "supercategory": "material", "isthing": 1, "color": [0, 0, 0]
    }  # fmt: skip
    assert CategoryTable(MIXED) != "categories"
