"""Small annotation files of other programs and data sets, as these document them."""

import json

import numpy as np

SIZE = (HEIGHT, WIDTH) = (20, 30)
# Columns 2 to 11, rows 3 to 7; its corners, and as percent of the sides.
BOX = np.zeros(SIZE, bool)
BOX[3:8, 2:12] = True
CORNERS = [[2, 3], [12, 3], [12, 8], [2, 8]]


def write(path, text) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return str(path)


XS, YS = ([corner[axis] for corner in CORNERS] for axis in (0, 1))
POLYGON = {"name": "polygon", "all_points_x": XS, "all_points_y": YS}
RECT = {"name": "rect", "x": 20, "y": 10, "width": 4, "height": 3}
REGIONS = [
    {"shape_attributes": POLYGON, "region_attributes": {"kind": "nut", "state": "ripe"}},
    {"shape_attributes": RECT, "region_attributes": {"kind": {"leaf": True, "nut": False}}},
]


def via_csv(regions, comment: str = "") -> str:
    header = f"{comment}filename,file_size,file_attributes,region_count,region_id,"
    lines = [header + "region_shape_attributes,region_attributes"]
    for number, region in enumerate(regions):
        cells = [
            json.dumps(region[k]).replace('"', '""')
            for k in ("shape_attributes", "region_attributes")
        ]
        lines.append(f'a.png,12,"{{}}",{len(regions)},{number},"{cells[0]}","{cells[1]}"')
    return "\n".join([*lines, 'b.png,9,"{}",0,0,"{}","{}"']) + "\n"


VIA_2 = {
    "a.png12": {"filename": "a.png", "size": 12, "regions": REGIONS, "file_attributes": {}},
    "b.png9": {"filename": "b.png", "size": 9, "regions": [], "file_attributes": {}},
}
VIA_1 = {"a.png12": {**VIA_2["a.png12"], "regions": dict(zip("01", REGIONS, strict=True))}}
VIA_1["b.png9"] = {**VIA_2["b.png9"], "regions": {}}
PROJECT = {"_via_settings": {}, "_via_img_metadata": VIA_2, "_via_attributes": {}}


def labelbox_row(*objects, name: str = "a.png", labels: int = 1) -> str:
    label = {"label_kind": "Default", "annotations": {"objects": list(objects)}}
    row = {
        "data_row": {"id": "c1", "external_id": name, "row_data": f"https://x/{name}?sig=1"},
        "media_attributes": {"height": HEIGHT, "width": WIDTH},
        "projects": {"p1": {"name": "first", "labels": [label]}},
    }
    for number in range(1, labels):
        row["projects"][f"q{number}"] = {"name": "second", "labels": [label]}
    return json.dumps(row)


PIECE = {"name": "nut", "annotation_kind": "ImagePolygon"}
PIECE |= {"polygon": [{"x": x, "y": y} for x, y in CORNERS]}
MAPILLARY = {
    "labels": [
        {"name": "animal--bird", "instances": True, "evaluate": True},
        {"name": "nature--sky", "instances": False, "evaluate": True},
        {"name": "void--unlabeled", "instances": False, "evaluate": False},
    ],
    "mapping": "public",
    "version": "2.0",
}


def mapillary_instances() -> np.ndarray:
    numbers = np.full(SIZE, 2 * 256, np.uint16)
    numbers[:5], numbers[6:9, :4], numbers[6:9, 6:9] = 256, 0, 1
    return numbers


def ade_mask() -> np.ndarray:
    """Red and green: class 2978 = 11 x 256 + 162; blue: the instance, not counted from 1."""
    values = np.zeros((*SIZE, 3), np.uint8)
    values[2:6, 3:9] = 110, 162, 85
    values[10:14, 3:9] = 110, 162, 170
    values[2:6, 20:25] = 70, 5, 255
    return values


def only(result, name: str, label: str) -> np.ndarray:
    """The mask of the one segment of a class."""
    (found,) = [s for s in result.segments(name) if result.names[s["category_id"]] == label]
    return result.ids(name) == found["id"]
